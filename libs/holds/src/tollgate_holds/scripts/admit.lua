-- Places, settles, releases and renews holds of one organization; used by edge (many in one call) and media-jobs.
-- KEYS: wallet, holds. ARGV: ttl seconds, number of operations, then three for each: operation, id, amount.
-- Amounts stay decimal strings: a Lua number is exact to 2^53 only. The sign of a reply is exact all the same.
-- A record is "h:EXPIRY:AMOUNT" (held), "s:TIME:COST" (settled) or "r:EXPIRY:" (released, a tombstone).
-- Replies one number an operation: 0 refused for money, 1 done, 2 no wallet, 3 came too late, 4 settled at another cost.
local wallet, holds = KEYS[1], KEYS[2]
local call = redis.call
local now = tonumber(call('TIME')[1])
local expiry = string.format('%d', now + tonumber(ARGV[1]))
local stamp = string.format('%d', now)
local has_wallet = call('EXISTS', wallet) == 1
local out = {}
for i = 0, tonumber(ARGV[2]) - 1 do
  local operation, id, amount = ARGV[3 + i * 3], ARGV[4 + i * 3], ARGV[5 + i * 3]
  local result = 1
  if operation == 'h' then
    if not has_wallet then
      result = 2
    elseif call('HSETNX', holds, id, 'h:' .. expiry .. ':' .. amount) == 1 then
      if call('DECRBY', wallet, amount) < 0 then
        call('INCRBY', wallet, amount)
        call('HDEL', holds, id)
        result = 0
      end
    elseif string.byte(call('HGET', holds, id)) == 114 then
      result = 3
    end
  else
    local record = call('HGET', holds, id)
    local state = record and string.byte(record)
    if state == 104 then
      local held = string.match(record, ':(%d+)$')
      if operation == 's' then
        if has_wallet then
          call('INCRBY', wallet, held)
          call('DECRBY', wallet, amount)
        end
        call('HSET', holds, id, 's:' .. stamp .. ':' .. amount)
      elseif operation == 'f' then
        if has_wallet then call('INCRBY', wallet, held) end
        call('HDEL', holds, id)
      else
        call('HSET', holds, id, 'h:' .. expiry .. ':' .. held)
      end
    elseif state == 115 and operation == 's' then
      if string.match(record, ':(%d+)$') ~= amount then result = 4 end
    else
      result = 3
    end
  end
  out[#out + 1] = result
end
return out
