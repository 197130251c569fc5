-- Releases holds whose time is up and forgets old tombstones; used by billing's sweep.
-- KEYS: wallet, holds. ARGV: tombstone seconds, then ids. Replies {released, forgotten}.
local wallet, holds = KEYS[1], KEYS[2]
local call = redis.call
local now = tonumber(call('TIME')[1])
local expiry = string.format('%d:', now + tonumber(ARGV[1]))
local has_wallet = call('EXISTS', wallet) == 1
local released, forgotten = 0, 0
for i = 2, #ARGV do
  local record = call('HGET', holds, ARGV[i])
  if record then
    local state, budgets = state_of(record)
    local at = tonumber(string.match(record, '^.:(%d+):'))
    if at < now and state == 104 then
      local held = string.match(record, ':(%d+)$')
      if has_wallet then move(held, '0', wallet) end
      if budgets then move_budgets(holds, budgets, held, '0') end
      call('HSET', holds, ARGV[i], budgets and 'R:' .. expiry .. budgets .. ':' or 'r:' .. expiry)
      released = released + 1
    elseif at < now and state == 114 then
      call('HDEL', holds, ARGV[i])
      forgotten = forgotten + 1
    end
  end
end
return {released, forgotten}
