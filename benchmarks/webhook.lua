-- amoCRM's deliveries for wrk: every request is a new message in one of LEADS deals.
local leads = tonumber(os.getenv("BENCH_LEADS") or "500")
local threads = 0
local sent = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  started = os.time()
end

local template =
  "account%%5Bsubdomain%%5D=example&account%%5Bid%%5D=29085955" ..
  "&account%%5B_links%%5D%%5Bself%%5D=https%%3A%%2F%%2Fexample.amocrm.ru" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bid%%5D=%s&message%%5Badd%%5D%%5B0%%5D%%5Bchat_id%%5D=chat-%d" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Btalk_id%%5D=%d&message%%5Badd%%5D%%5B0%%5D%%5Bcontact_id%%5D=%d" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Btext%%5D=%%D0%%A1%%D0%%BA%%D0%%BE%%D0%%BB%%D1%%8C%%D0%%BA%%D0%%BE+" ..
  "%%D1%%81%%D1%%82%%D0%%BE%%D0%%B8%%D1%%82+%%D0%%B4%%D0%%BE%%D1%%81%%D1%%82%%D0%%B0%%D0%%B2%%D0%%BA%%D0%%B0%%3F" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bcreated_at%%5D=%d&message%%5Badd%%5D%%5B0%%5D%%5Belement_type%%5D=2" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bentity_type%%5D=lead&message%%5Badd%%5D%%5B0%%5D%%5Belement_id%%5D=%d" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bentity_id%%5D=%d&message%%5Badd%%5D%%5B0%%5D%%5Btype%%5D=incoming" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bauthor%%5D%%5Bid%%5D=1db2f5cc-aea4-4f96-8d4f-a256ead5b7b0" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bauthor%%5D%%5Btype%%5D=external" ..
  "&message%%5Badd%%5D%%5B0%%5D%%5Bauthor%%5D%%5Bname%%5D=Client+%d&message%%5Badd%%5D%%5B0%%5D%%5Borigin%%5D=telegram"

function request()
  sent = sent + 1
  local lead = 1000 + sent % leads
  local id = string.format("%d-%d-%d", started, number, sent)
  local body = string.format(template, id, lead, lead, lead, started, lead, lead, lead)
  return wrk.format("POST", "/webhook/amocrm/" .. (os.getenv("BENCH_SECRET") or "secret"),
    {["Content-Type"] = "application/x-www-form-urlencoded"}, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %.3f %.3f %d\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
