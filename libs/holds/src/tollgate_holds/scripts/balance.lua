-- What an organization's wallet is, and what it should be; used by billing.
-- KEYS: wallet, holds, scratch. ARGV: ledger balance as a decimal string, or '' to read only.
-- Replies {wallet or '', held, settled, expected or '', changed}: with a ledger balance the wallet is set to
-- ledger - held - settled, which is what `expected` says.
local wallet, holds, scratch = KEYS[1], KEYS[2], KEYS[3]
local call = redis.call
local records = call('HGETALL', holds)
local function total(state)
  call('SET', scratch, '0')
  for i = 2, #records, 2 do
    if state_of(records[i]) == state then call('INCRBY', scratch, string.match(records[i], ':(%d+)$')) end
  end
  local sum = call('GET', scratch)
  call('DEL', scratch)
  return sum
end
local held, settled = total(104), total(115)
local current = call('GET', wallet)
if ARGV[1] == '' then return {current or '', held, settled, '', 0} end
call('SET', scratch, ARGV[1])
call('DECRBY', scratch, held)
call('DECRBY', scratch, settled)
local expected = call('GET', scratch)
call('DEL', scratch)
if current == expected then return {current, held, settled, expected, 0} end
call('SET', wallet, expected)
return {current or '', held, settled, expected, 1}
