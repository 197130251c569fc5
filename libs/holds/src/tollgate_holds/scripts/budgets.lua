-- Put before the scripts that move money.
-- Redis counts to 2^63, some 9.2 million of a currency in pico-units, and does not take back what a script did before it
-- broke off. So no sum breaks a script off: a wallet or a budget that would be beyond becomes the nearest that Redis
-- counts. Billing tells of such wallets, and makes them again from the ledger, which holds any amount.
local MOST = '9223372036854775807'
-- Numbers of so many digits, and their differences, are exact in Lua.
local EXACT_DIGITS = 15
local try = redis.pcall

-- Returns the sum, whose sign is exact, or nothing where Redis does not count so far: then nothing has changed.
local function counted(reply)
  if type(reply) == 'number' then return reply end
  if not string.find(reply.err, 'overflow', 1, true) then error(reply.err) end
end

-- Adds to a wallet, or to a field of a budget.
local function add(amount, key, field)
  return counted(field and try('HINCRBY', key, field, amount) or try('INCRBY', key, amount))
end

-- The same, taken from it.
local function take(amount, key, field)
  return counted(field and try('HINCRBY', key, field, '-' .. amount) or try('DECRBY', key, amount))
end

local function put(value, key, field)
  if field then redis.call('HSET', key, field, value) else redis.call('SET', key, value) end
end

-- Gives one amount and takes another.
local function move(give, taken, key, field)
  -- Most are small enough for their difference to be exact, and one command is 5 % less of a request than two.
  if #give <= EXACT_DIGITS and #taken <= EXACT_DIGITS then
    local by = tonumber(give) - tonumber(taken)
    if by == 0 or add(string.format('%d', by), key, field) then return end
  end
  if give ~= '0' and not add(give, key, field) then
    -- So much is there that the other can be taken first.
    if taken ~= '0' then take(taken, key, field) end
    if not add(give, key, field) then put(MOST, key, field) end
  elseif taken ~= '0' and not take(taken, key, field) then
    put('-' .. MOST, key, field)
  end
end

-- A budget is a hash: "id" its window, "cap" what may be spent in it, "left" what is left of that. A record with budgets
-- has a capital for its state and names them before its amount: "H:EXPIRY:key:ID@WINDOW,project:ID@WINDOW:AMOUNT". What
-- a window that is over took is not given to the next one.
local function move_budgets(holds, names, give, take)
  local prefix = string.sub(holds, 1, -6) .. 'budget:'
  for name, window in string.gmatch(names, '([^,@]+)@([^,@]+)') do
    local key = prefix .. name
    if redis.call('HGET', key, 'id') == window then move(give, take, key, 'left') end
  end
end

-- Returns the state of a record as if it had no budgets, and their names or nil.
local function state_of(record)
  local state = string.byte(record)
  if state > 96 then return state end
  return state + 32, string.match(record, '^.:%d+:(.*):%d*$')
end

-- Returns the window of a budget at a second: "d" a day, "m" a month, "a" all time; days and months are those of UTC.
local function window_at(kind, second)
  if kind == 'a' then return 'all' end
  local floor = math.floor
  local days = floor(second / 86400)
  local shifted = days + 719468
  local era = floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  if kind == 'm' then return string.format('%04d-%02d', year, month) end
  return string.format('%04d-%02d-%02d', year, month, day)
end
