-- Places, settles, releases and renews holds of one organization; used by edge (many in one call) and media-jobs.
-- KEYS: wallet, holds. ARGV: ttl seconds, number of operations, then three for each: operation, id, amount.
-- Operations: h hold what the wallet covers, p hold whatever the wallet has, s settle, f forget, r renew, e end (only
-- the slots go), u use (what a budget took before it began; id is its window, tokens the place of its scope). H and P
-- are h and p for a request's second try, in place of what the first holds, whose id is this one less two characters:
-- the record and the slots go by the new id from now on, and no limit is asked or counted again. Where billing ended the
-- first hold meanwhile, this is a hold like any other, and what the first counted is taken back before.
-- Where the last ones have limits, more KEYS follow, three for each scope: its window, its slots and its budget; and
-- more ARGV: index of the first limited operation, ttl of a slot, number of limit sets; for each set the number of its
-- scopes and five for each: requests a minute, tokens a minute, slots at once, budget (0: no limit), window of the
-- budget; then three for each limited operation: its set, tokens, second. Tokens and second of s and f correct what a
-- hold counted; a second below 0 says that this may have been done already. Those of H and P are what the first counted.
-- Amounts stay decimal strings: a Lua number is exact to 2^53 only, and `move` subtracts short ones. The sign of a
-- reply is exact all the same.
-- A record without budgets is "h:EXPIRY:AMOUNT" (held), "s:TIME:COST" (settled) or "r:EXPIRY:" (released, a tombstone).
-- Replies one number an operation: 0 refused for money, 1 done, 2 no wallet, 3 came too late, 4 settled at another cost,
-- 5 refused by a limit, 7 by a budget. A limited hold replies a list instead: that number, the second it was counted in
-- (0: it was not), then scope, rest and milliseconds to reset of the narrowest limit of requests and of that of tokens
-- (scope 0: none), a bit for each scope whose budget begins here, and when a limit refused: which (1 requests, 2 tokens,
-- 3 slots, 4 budget), its scope, what is used of it, and the milliseconds until there is room (-1: never; 0: not known).
local wallet, holds = KEYS[1], KEYS[2]
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1])
local expiry = string.format('%d', now + tonumber(ARGV[1]))
local stamp = string.format('%d', now)
local has_wallet = call('EXISTS', wallet) == 1
local total = tonumber(ARGV[2])
local first, limits = total, nil

if ARGV[3 + total * 3] then
  limits = {}
  -- A window is this second and the 59 before it, a count for each, so that its size does not grow with the limit.
  -- Hash: "at" the second it was brought up to, "n" the newest one that counts, "r" and "t" the sums, "rSECOND" and
  -- "tSECOND" the counts. Slots are a sorted set of ids by expiry, so none leaks when a process dies.
  local WINDOW, KEPT = 60, 120
  local format, max = string.format, math.max
  local ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
  local at = 3 + total * 3
  first = tonumber(ARGV[at])
  local slot_ttl = tonumber(ARGV[at + 1])
  local slot_expiry = format('%d', now + slot_ttl)
  local sets, windows, lives, caps = {}, {}, {}, {}
  local key = 3
  local function field(kind, second) return format('%s%d', kind, second) end
  local function number(value) return tonumber(value or 0) end

  local function read_window(name)
    local found = call('HMGET', name, 'at', 'n', 'r', 't', field('r', now), field('t', now))
    local last = number(found[1])
    -- A server whose clock is behind goes on in the newest second it knows.
    local window = {name = name, at = max(last, now), newest = 0, r = 0, t = 0, r_now = 0, t_now = 0}
    if window.at - last >= WINDOW then
      if last > 0 then call('DEL', name) end
      return window
    end
    window.newest, window.r, window.t = number(found[2]), number(found[3]), number(found[4])
    if last < now then
      local gone = {}
      for second = last - WINDOW + 1, now - WINDOW do
        gone[#gone + 1] = field('r', second)
        gone[#gone + 1] = field('t', second)
      end
      local counts = call('HMGET', name, unpack(gone))
      for i = 1, #gone, 2 do
        window.r, window.t = window.r - number(counts[i]), window.t - number(counts[i + 1])
      end
      call('HDEL', name, unpack(gone))
      window.changed = true
    else
      if last > now then found = {0, 0, 0, 0, unpack(call('HMGET', name, field('r', last), field('t', last)))} end
      window.r_now, window.t_now = number(found[5]), number(found[6])
    end
    return window
  end

  -- The same scope may stand in several sets, even with other limits while a change of them spreads.
  for s = 0, tonumber(ARGV[at + 2]) - 1 do
    local set = {}
    for k = 1, tonumber(ARGV[at + 3]) do
      local scope = {r = tonumber(ARGV[at + 4]), t = tonumber(ARGV[at + 5])}
      if scope.r > 0 or scope.t > 0 then
        local name = KEYS[key]
        scope.window = windows[name] or read_window(name)
        windows[name] = scope.window
      end
      local slots = tonumber(ARGV[at + 6])
      if slots > 0 then
        local name = KEYS[key + 1]
        scope.slots, scope.live = slots, lives[name] or {name = name}
        lives[name] = scope.live
      end
      if ARGV[at + 7] ~= '0' then
        scope.cap, scope.budget = ARGV[at + 7], {key = KEYS[key + 2], id = window_at(ARGV[at + 8], now)}
        local name = string.match(scope.budget.key, '}:budget:(.*)$') .. '@' .. scope.budget.id
        set.budgets = set.budgets and set.budgets .. ',' .. name or name
      end
      set[k] = scope
      key, at = key + 3, at + 5
    end
    sets[s] = set
    at = at + 1
  end
  local gates = at + 3

  function limits.gate(i)
    local base = gates + (i - first) * 3
    return sets[tonumber(ARGV[base])], tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2])
  end

  local function open_in(live)
    if not live.count then
      call('ZREMRANGEBYSCORE', live.name, '-inf', format('(%d', now))
      live.count = call('ZCARD', live.name)
    end
    return live.count
  end

  function limits.have_room(set, tokens)
    for k = 1, #set do
      local scope = set[k]
      local window, live = scope.window, scope.live
      if window and (scope.r > 0 and window.r >= scope.r or scope.t > 0 and window.t + tokens > scope.t)
        or live and open_in(live) >= scope.slots then
        return false
      end
    end
    return true
  end

  -- Milliseconds until `need` more of a kind fit: 0 now, -1 never.
  local function wait_for(window, kind, need, limit)
    local over = window[kind] + need - limit
    if limit == 0 or over <= 0 then return 0 end
    if need > limit then return -1 end
    local past = kind .. '_past'
    if not window[past] then
      local fields = {}
      for second = window.at - WINDOW + 1, window.at - 1 do fields[#fields + 1] = field(kind, second) end
      window[past] = call('HMGET', window.name, unpack(fields))
    end
    for i, count in ipairs(window[past]) do
      over = over - number(count)
      if over <= 0 then return (window.at + i) * 1000 - ms end
    end
    return (window.at + WINDOW) * 1000 - ms
  end

  -- Returns which limit without room takes longest to have some.
  function limits.refusal(set, tokens)
    local worst = {0, 0, 0, 0}
    local function note(kind, scope, used, wait)
      if worst[1] == 0 or (worst[4] >= 0 and (wait < 0 or wait > worst[4])) then worst = {kind, scope, used, wait} end
    end
    for k, scope in ipairs(set) do
      local window, live = scope.window, scope.live
      if window then
        local wait = wait_for(window, 'r', 1, scope.r)
        if wait ~= 0 then note(1, k, window.r, wait) end
        wait = wait_for(window, 't', tokens, scope.t)
        if wait ~= 0 then note(2, k, window.t, wait) end
      end
      if live and open_in(live) >= scope.slots then note(3, k, live.count, 0) end
    end
    return worst
  end

  local function open_one(live, id)
    live.count = open_in(live) + call('ZADD', live.name, slot_expiry, id)
    live.changed = true
  end

  -- The slots of a request's first try are those of the second one.
  function limits.take_over(set, before, id)
    for k = 1, #set do
      local live = set[k].live
      if live then
        live.count = open_in(live) - call('ZREM', live.name, before)
        open_one(live, id)
      end
    end
  end

  function limits.count(set, tokens, id)
    for k = 1, #set do
      local scope = set[k]
      local window = scope.window
      if window then
        if scope.r > 0 then window.r, window.r_now = window.r + 1, window.r_now + 1 end
        if scope.t > 0 then window.t, window.t_now = window.t + tokens, window.t_now + tokens end
        if window.newest < window.at then window.newest, window.fresh = window.at, true end
        window.changed = true
      end
      if scope.live then open_one(scope.live, id) end
    end
  end

  -- Takes an amount from all budgets, or from none; returns the place of the one that has too little left.
  function limits.take(set, amount)
    for k = 1, #set do
      local budget, cap = set[k].budget, set[k].cap
      if budget then
        local wanted = budget.id .. ':' .. cap
        if caps[budget.key] ~= wanted then
          local found = call('HMGET', budget.key, 'id', 'cap')
          if found[1] ~= budget.id then
            call('DEL', budget.key)
            call('HSET', budget.key, 'id', budget.id, 'cap', cap, 'left', cap)
            set.made = (set.made or 0) + 2 ^ (k - 1)
          elseif found[2] ~= cap then
            move(cap, found[2], budget.key, 'left')
            call('HSET', budget.key, 'cap', cap)
          end
          caps[budget.key] = wanted
        end
        local left = amount == '0' and 0 or take(amount, budget.key, 'left')
        if not left or left < 0 then
          for i = 1, left and k or k - 1 do
            if set[i].budget then add(amount, set[i].budget.key, 'left') end
          end
          return k
        end
      end
    end
  end

  local function correct(window, kind, second, by)
    -- What is newer than the newest count was lost with the server's memory.
    if by == 0 or second <= window.at - WINDOW or second > window.newest then return end
    local before
    if second == window.at then
      before = window[kind .. '_now']
      window[kind .. '_now'] = max(before + by, 0)
    else
      before = number(call('HGET', window.name, field(kind, second)))
      call('HSET', window.name, field(kind, second), format('%d', max(before + by, 0)))
      window[kind .. '_past'] = nil
    end
    window[kind] = window[kind] + max(before + by, 0) - before
    window.changed = true
  end

  -- A settled, forgotten or ended request gives its slots back, and its counts become what it really used.
  function limits.finish(operation, id, state, set, tokens, second)
    -- What was settled before was corrected with that.
    local correcting = (operation == 's' or operation == 'f') and (state == 104 or state ~= 115 and second > 0)
    second = math.abs(second)
    for k = 1, #set do
      local scope = set[k]
      local window, live = scope.window, scope.live
      if correcting and window then
        if operation == 'f' and scope.r > 0 then correct(window, 'r', second, -1) end
        if scope.t > 0 then correct(window, 't', second, tokens) end
      end
      if live and operation ~= 'r' then
        local gone = call('ZREM', live.name, id)
        if live.count then live.count = live.count - gone end
      elseif live and state == 104 then
        -- Anew, where it was renewed too late: the request runs all the same.
        open_one(live, id)
      end
    end
  end

  function limits.reply(result, counted, set)
    local reply = {result, counted, 0, 0, 0, 0, 0, 0, set.made or 0}
    set.made = nil
    for k = 1, #set do
      local scope = set[k]
      local window = scope.window
      if window then
        local reset = (window.newest + WINDOW) * 1000 - ms
        local rest = max(scope.r - window.r, 0)
        if scope.r > 0 and (reply[3] == 0 or rest < reply[4]) then
          reply[3], reply[4], reply[5] = k, rest, window.r > 0 and reset or 0
        end
        rest = max(scope.t - window.t, 0)
        if scope.t > 0 and (reply[6] == 0 or rest < reply[7]) then
          reply[6], reply[7], reply[8] = k, rest, window.t > 0 and reset or 0
        end
      end
    end
    return reply
  end

  -- What a budget took in this window before its hash was made; said again as more of it becomes known.
  function limits.use(set, place, window, amount)
    local budget = set[place] and set[place].budget
    if not budget or call('HGET', budget.key, 'id') ~= window then return 3 end
    local before = call('HGET', budget.key, 'used') or '0'
    if #amount < #before or #amount == #before and amount <= before then return 3 end
    call('HSET', budget.key, 'used', amount)
    move(before, amount, budget.key, 'left')
    return 1
  end

  function limits.write()
    for name, window in pairs(windows) do
      if window.changed then
        call('HSET', name, 'at', format('%d', window.at), 'n', format('%d', window.newest),
          'r', format('%d', window.r), 't', format('%d', window.t),
          field('r', window.at), format('%d', window.r_now), field('t', window.at), format('%d', window.t_now))
        if window.fresh then call('EXPIRE', name, KEPT) end
      end
    end
    for name, live in pairs(lives) do
      if live.changed then call('EXPIRE', name, slot_ttl + WINDOW) end
    end
  end
end

-- Makes the hold of a request's first try the one of its second; false where there is none, or there was one already.
local function take_over(id, set, tokens, second)
  if call('HEXISTS', holds, id) == 1 then return false end
  local before = string.sub(id, 1, -3)
  local record = call('HGET', holds, before)
  if record and state_of(record) == 104 then
    call('HDEL', holds, before)
    call('HSET', holds, id, (string.gsub(record, '%d+', expiry, 1)))
    if set then limits.take_over(set, before, id) end
    return true
  end
  if set then limits.finish('f', before, nil, set, -tokens, second) end
  return false
end

local out = {}
for i = 0, total - 1 do
  local operation, id, amount = ARGV[3 + i * 3], ARGV[4 + i * 3], ARGV[5 + i * 3]
  local result, counted = 1, 0
  local set, tokens, second
  if i >= first then set, tokens, second = limits.gate(i) end
  local taken = false
  if operation == 'H' or operation == 'P' then
    operation, taken = operation == 'H' and 'h' or 'p', take_over(id, set, tokens, second)
  end
  if operation == 'h' or operation == 'p' then
    local spent
    if taken then
      counted = second
    elseif set and not limits.have_room(set, tokens) then
      -- One that was let in before is not refused when it is repeated.
      local record = call('HGET', holds, id)
      result = not record and 5 or state_of(record) == 114 and 3 or 1
    elseif not has_wallet and operation == 'h' then
      result = 2
    elseif call('HSETNX', holds, id, set and set.budgets and 'H:' .. expiry .. ':' .. set.budgets .. ':' .. amount
      or 'h:' .. expiry .. ':' .. amount) == 1 then
      -- Less than Redis counts is an error: nothing is taken then, and no record may say so to who asks again.
      local left = has_wallet and redis.pcall('DECRBY', wallet, amount) or 0
      local beyond = type(left) == 'table'
      if beyond and not string.find(left.err, 'overflow', 1, true) then return left end
      if beyond or left < 0 and operation == 'h' then
        result = 0
      elseif set then
        spent = set.budgets and limits.take(set, amount)
        if spent then result = 7 else limits.count(set, tokens, id) end
        counted = not spent and now or 0
      end
      if result ~= 1 then
        if has_wallet and not beyond then call('INCRBY', wallet, amount) end
        call('HDEL', holds, id)
      end
    elseif state_of(call('HGET', holds, id)) == 114 then
      result = 3
    end
    if set then
      local refusal = result == 5 and limits.refusal(set, tokens) or spent and {4, spent, 0, 0}
      result = limits.reply(result, counted, set)
      for k = 1, refusal and 4 or 0 do result[9 + k] = refusal[k] end
    end
  elseif operation == 'u' then
    result = set and limits.use(set, tokens, id, amount) or 3
  else
    local record = operation ~= 'e' and call('HGET', holds, id)
    local state, budgets = record and string.byte(record), nil
    if state and state < 97 then state, budgets = state_of(record) end
    if state == 104 then
      local held = string.match(record, ':(%d+)$')
      if operation == 's' then
        if has_wallet then move(held, amount, wallet) end
        if budgets then
          move_budgets(holds, budgets, held, amount)
          call('HSET', holds, id, 'S:' .. stamp .. ':' .. budgets .. ':' .. amount)
        else
          call('HSET', holds, id, 's:' .. stamp .. ':' .. amount)
        end
      elseif operation == 'f' then
        if has_wallet then move(held, '0', wallet) end
        if budgets then move_budgets(holds, budgets, held, '0') end
        call('HDEL', holds, id)
      elseif budgets then
        call('HSET', holds, id, 'H:' .. expiry .. ':' .. budgets .. ':' .. held)
      else
        call('HSET', holds, id, 'h:' .. expiry .. ':' .. held)
      end
    elseif state == 115 and operation == 's' then
      if string.match(record, ':(%d+)$') ~= amount then result = 4 end
    elseif operation ~= 'e' then
      result = 3
    end
    if set then limits.finish(operation, id, state, set, tokens, second) end
  end
  out[#out + 1] = result
end
if limits then limits.write() end
return out
