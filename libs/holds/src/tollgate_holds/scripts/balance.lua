-- What an organization's wallet is, and what it should be; used by billing.
-- KEYS: wallet, holds. ARGV: the ledger's balance as high and low part, or nothing to read only.
-- Replies {wallet or '', held, settled, expected or '', changed}: with a ledger balance the wallet is set to
-- ledger - held - settled, which is what `expected` says, or to the nearest to it that Redis counts.
-- An amount is high * 10^9 + low here: a Lua number is exact to 2^53 only, and each part of a sum of a million is below.
local wallet, holds = KEYS[1], KEYS[2]
local call = redis.call
local PART = 1000000000

local records = call('HGETALL', holds)
local held, settled = {0, 0}, {0, 0}
local sums = {[104] = held, [115] = settled}
for i = 2, #records, 2 do
  local sum = sums[state_of(records[i])]
  if sum then
    local amount = string.match(records[i], ':(%d+)$')
    sum[1] = sum[1] + (tonumber(string.sub(amount, 1, -10)) or 0)
    sum[2] = sum[2] + tonumber(string.sub(amount, -9))
  end
end

local function text(high, low)
  high, low = high + math.floor(low / PART), low % PART
  local sign = ''
  if high < 0 then
    -- Minus one and a half is -2 and 5 tenths here.
    sign, high, low = '-', -high, -low
    if low < 0 then high, low = high - 1, low + PART end
  end
  if high == 0 then return sign .. string.format('%d', low) end
  return sign .. string.format('%d%09d', high, low)
end

local function nearest(digits)
  local size = string.gsub(digits, '^%-', '')
  if #size < #MOST or #size == #MOST and size <= MOST then return digits end
  return (#size < #digits and '-' or '') .. MOST
end

local current = call('GET', wallet)
local said = {current or '', text(held[1], held[2]), text(settled[1], settled[2]), '', 0}
if not ARGV[1] then return said end
local exact = text(tonumber(ARGV[1]) - held[1] - settled[1], tonumber(ARGV[2]) - held[2] - settled[2])
local expected = nearest(exact)
said[4] = expected
if current == expected then return said end
call('SET', wallet, expected)
said[5] = 1
return said
