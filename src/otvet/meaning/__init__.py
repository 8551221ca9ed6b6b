"""Room: what words mean for staff. A client who wants a person, thanks, or complains; a draft that promises."""
