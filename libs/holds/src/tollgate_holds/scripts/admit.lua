-- Places, settles, releases and renews holds of one organization; used by edge (many in one call) and media-jobs.
-- KEYS: wallet, holds. ARGV: ttl seconds, number of operations, then three for each: operation, id, amount.
-- Operations: h hold what the wallet covers, p hold whatever the wallet has, s settle, f forget, r renew, e end (only
-- the slots go). Where the last ones have limits, more KEYS follow, two for each scope: its window and its slots; and
-- more ARGV: index of the first limited operation, ttl of a slot, number of limit sets; for each set the number of its
-- scopes and three for each: requests a minute, tokens a minute, slots at once (0: no limit); then three for each
-- limited operation: its set, tokens, second. Tokens and second of s and f correct what a hold counted; a second
-- below 0 says that this may have been done already.
-- Amounts stay decimal strings: a Lua number is exact to 2^53 only. The sign of a reply is exact all the same.
-- A record is "h:EXPIRY:AMOUNT" (held), "s:TIME:COST" (settled) or "r:EXPIRY:" (released, a tombstone).
-- Replies one number an operation: 0 refused for money, 1 done, 2 no wallet, 3 came too late, 4 settled at another cost,
-- 5 refused by a limit. A limited hold replies a list instead: that number, the second it was counted in (0: it was not),
-- then scope, rest and milliseconds to reset of the narrowest limit of requests and of that of tokens (scope 0: none),
-- and when a limit refused: which (1 requests, 2 tokens, 3 slots), its scope, what is used of it, and the milliseconds
-- until there is room (-1: never; 0: not known).
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
  local ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
  local at = 3 + total * 3
  first = tonumber(ARGV[at])
  local slot_ttl = tonumber(ARGV[at + 1])
  local slot_expiry = string.format('%d', now + slot_ttl)
  local sets, windows, slots = {}, {}, {}
  local key = 3
  local function field(kind, second) return string.format('%s%d', kind, second) end
  local function number(value) return tonumber(value or 0) end
  for s = 0, tonumber(ARGV[at + 2]) - 1 do
    sets[s] = {}
    for k = 1, tonumber(ARGV[at + 3]) do
      sets[s][k] = {
        window = KEYS[key], slots = KEYS[key + 1],
        r = tonumber(ARGV[at + 4]), t = tonumber(ARGV[at + 5]), live = tonumber(ARGV[at + 6]),
      }
      key, at = key + 2, at + 3
    end
    at = at + 1
  end
  local gates = at + 3

  local function window_of(name)
    local window = windows[name]
    if window then return window end
    local found = call('HMGET', name, 'at', 'n', 'r', 't', field('r', now), field('t', now))
    local last = number(found[1])
    -- A server whose clock is behind goes on in the newest second it knows.
    window = {name = name, at = math.max(last, now), newest = 0, r = 0, t = 0, r_now = 0, t_now = 0}
    windows[name] = window
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

  local function live_of(name)
    local live = slots[name]
    if not live then
      call('ZREMRANGEBYSCORE', name, '-inf', string.format('(%d', now))
      live = {count = call('ZCARD', name)}
      slots[name] = live
    end
    return live
  end

  -- Milliseconds until `need` more of a kind fit: 0 now, -1 never.
  local function wait_for(window, kind, need, limit)
    local over = window[kind] + need - limit
    if over <= 0 then return 0 end
    if need > limit then return -1 end
    if not window[kind .. '_past'] then
      local past = {}
      for second = window.at - WINDOW + 1, window.at - 1 do past[#past + 1] = field(kind, second) end
      window[kind .. '_past'] = call('HMGET', window.name, unpack(past))
    end
    for i, count in ipairs(window[kind .. '_past']) do
      over = over - number(count)
      if over <= 0 then return (window.at + i) * 1000 - ms end
    end
    return (window.at + WINDOW) * 1000 - ms
  end

  function limits.gate(i)
    local base = gates + (i - first) * 3
    return {set = sets[tonumber(ARGV[base])], tokens = tonumber(ARGV[base + 1]), second = tonumber(ARGV[base + 2])}
  end

  -- Returns the limit without room that takes longest to have some; nil when all have it.
  function limits.refusal(gate)
    local worst
    local function note(kind, scope, used, wait)
      if not worst or (worst[4] >= 0 and (wait < 0 or wait > worst[4])) then worst = {kind, scope, used, wait} end
    end
    for k, scope in ipairs(gate.set) do
      if scope.r > 0 or scope.t > 0 then
        local window = window_of(scope.window)
        local wait = scope.r > 0 and wait_for(window, 'r', 1, scope.r) or 0
        if wait ~= 0 then note(1, k, window.r, wait) end
        wait = scope.t > 0 and wait_for(window, 't', gate.tokens, scope.t) or 0
        if wait ~= 0 then note(2, k, window.t, wait) end
      end
      if scope.live > 0 then
        local live = live_of(scope.slots)
        if live.count >= scope.live then note(3, k, live.count, 0) end
      end
    end
    return worst
  end

  function limits.count(gate, id)
    for _, scope in ipairs(gate.set) do
      if scope.r > 0 or scope.t > 0 then
        local window = window_of(scope.window)
        if scope.r > 0 then window.r, window.r_now = window.r + 1, window.r_now + 1 end
        if scope.t > 0 then window.t, window.t_now = window.t + gate.tokens, window.t_now + gate.tokens end
        if window.newest < window.at then window.newest, window.fresh = window.at, true end
        window.changed = true
      end
      if scope.live > 0 then
        local live = live_of(scope.slots)
        live.count = live.count + call('ZADD', scope.slots, slot_expiry, id)
        live.used = true
      end
    end
    gate.counted = now
  end

  local function correct(window, kind, second, by)
    if by == 0 or second <= window.at - WINDOW or second > window.at then return end
    local before
    if second == window.at then
      before = window[kind .. '_now']
      window[kind .. '_now'] = math.max(before + by, 0)
    else
      before = number(call('HGET', window.name, field(kind, second)))
      call('HSET', window.name, field(kind, second), string.format('%d', math.max(before + by, 0)))
      window[kind .. '_past'] = nil
    end
    window[kind] = window[kind] + math.max(before + by, 0) - before
    window.changed = true
  end

  -- A settled, forgotten or ended request gives its slots back, and its counts become what it really used.
  function limits.finish(gate, operation, id, was_held)
    local correcting = (operation == 's' or operation == 'f') and (was_held or gate.second > 0)
    local second = math.abs(gate.second)
    for _, scope in ipairs(gate.set) do
      if correcting and second > 0 and (scope.r > 0 or scope.t > 0) then
        local window = window_of(scope.window)
        if scope.r > 0 and operation == 'f' then correct(window, 'r', second, -1) end
        if scope.t > 0 then correct(window, 't', second, gate.tokens) end
      end
      if scope.live > 0 then
        if operation == 'r' then
          call('ZADD', scope.slots, 'XX', slot_expiry, id)
          call('EXPIRE', scope.slots, slot_ttl + WINDOW)
        else
          local gone = call('ZREM', scope.slots, id)
          if slots[scope.slots] then slots[scope.slots].count = slots[scope.slots].count - gone end
        end
      end
    end
  end

  function limits.reply(gate, result, refusal)
    local narrow = {r = {0, 0, 0}, t = {0, 0, 0}}
    for k, scope in ipairs(gate.set) do
      for kind, found in pairs(narrow) do
        if scope[kind] > 0 then
          local window = window_of(scope.window)
          local rest = math.max(scope[kind] - window[kind], 0)
          if found[1] == 0 or rest < found[2] then
            local reset = window[kind] > 0 and (window.newest + WINDOW) * 1000 - ms or 0
            narrow[kind] = {k, rest, reset}
          end
        end
      end
    end
    local r, t = narrow.r, narrow.t
    local reply = {result, gate.counted or 0, r[1], r[2], r[3], t[1], t[2], t[3]}
    for _, value in ipairs(refusal or {}) do reply[#reply + 1] = value end
    return reply
  end

  function limits.write()
    for name, window in pairs(windows) do
      if window.changed then
        local format = string.format
        call('HSET', name, 'at', format('%d', window.at), 'n', format('%d', window.newest),
          'r', format('%d', window.r), 't', format('%d', window.t),
          field('r', window.at), format('%d', window.r_now), field('t', window.at), format('%d', window.t_now))
        if window.fresh then call('EXPIRE', name, KEPT) end
      end
    end
    for name, live in pairs(slots) do
      if live.used then call('EXPIRE', name, slot_ttl + WINDOW) end
    end
  end
end

local out = {}
for i = 0, total - 1 do
  local operation, id, amount = ARGV[3 + i * 3], ARGV[4 + i * 3], ARGV[5 + i * 3]
  local gate = limits and i >= first and limits.gate(i)
  local result = 1
  if operation == 'h' or operation == 'p' then
    local refusal = gate and limits.refusal(gate)
    if refusal then
      -- One that was let in before is not refused when it is repeated.
      local record = call('HGET', holds, id)
      result = not record and 5 or string.byte(record) == 114 and 3 or 1
    elseif not has_wallet and operation == 'h' then
      result = 2
    elseif call('HSETNX', holds, id, 'h:' .. expiry .. ':' .. amount) == 1 then
      if has_wallet and call('DECRBY', wallet, amount) < 0 and operation == 'h' then
        call('INCRBY', wallet, amount)
        call('HDEL', holds, id)
        result = 0
      elseif gate then
        limits.count(gate, id)
      end
    elseif string.byte(call('HGET', holds, id)) == 114 then
      result = 3
    end
    out[#out + 1] = gate and limits.reply(gate, result, result == 5 and refusal) or result
  else
    local record = operation ~= 'e' and call('HGET', holds, id)
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
    elseif operation ~= 'e' then
      result = 3
    end
    -- What edge settled before was corrected with it.
    if gate then limits.finish(gate, state == 115 and 'e' or operation, id, state == 104) end
    out[#out + 1] = result
  end
end
if limits then limits.write() end
return out
