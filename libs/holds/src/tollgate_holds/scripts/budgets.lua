-- Put before the scripts that move money. A budget is a hash: "id" its window, "cap" what may be spent in it, "left"
-- what is left of that. A record with budgets has a capital for its state and names them before its amount:
-- "H:EXPIRY:key:ID@WINDOW,project:ID@WINDOW:AMOUNT". What a window that is over took is not given to the next one.
local function move_budgets(holds, names, give, take)
  local prefix = string.sub(holds, 1, -6) .. 'budget:'
  for name, window in string.gmatch(names, '([^,@]+)@([^,@]+)') do
    local key = prefix .. name
    if redis.call('HGET', key, 'id') == window then
      if give ~= '0' then redis.call('HINCRBY', key, 'left', give) end
      if take ~= '0' then redis.call('HINCRBY', key, 'left', '-' .. take) end
    end
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
