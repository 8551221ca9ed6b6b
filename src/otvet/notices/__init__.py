"""Notices to staff outside amoCRM, by Telegram, e-mail and others."""
