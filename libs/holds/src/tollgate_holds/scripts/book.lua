-- Applies what one batch of the usage log does to one organization's wallet, once; used by billing.
-- KEYS: wallet, holds, booked. ARGV: partition, batch, credit, number of effects, then two for each: hold id, charge.
-- A batch of a log's partition (epoch/topic/number) is named partition/low-high, and they come in order: one that ends
-- no later than the last is of a process that stood still while another went on. Offsets are far below 2^53.
-- Replies {state, corrected}: state 0 this batch was applied before, 1 applied, 2 applied to the holds but there is no
-- wallet (rebuild it); corrected counts holds that were settled at another cost than the charge.
local wallet, holds, booked = KEYS[1], KEYS[2], KEYS[3]
local call = redis.call
local last = call('HGET', booked, ARGV[1])
if last then
  if last == ARGV[2] then return {0, 0} end
  local of, before = string.match(last, '^(.+)/%d+%-(%d+)$')
  local own, now = string.match(ARGV[2], '^(.+)/%d+%-(%d+)$')
  local in_order = of == ARGV[1] and own == ARGV[1] and string.find(ARGV[1], '/', 1, true)
  if in_order and tonumber(now) <= tonumber(before) then return {0, 0} end
end
local has_wallet = call('EXISTS', wallet) == 1
local corrected = 0
-- Records are asked for and deleted many at once, which takes half the time of one by one.
local at, last_at = 5, 4 + 2 * tonumber(ARGV[4])
while at <= last_at do
  local ids, charges, gone, seen = {}, {}, {}, {}
  while at <= last_at and #ids < 1000 do
    ids[#ids + 1], charges[#charges + 1] = ARGV[at], ARGV[at + 1]
    at = at + 2
  end
  local records = call('HMGET', holds, unpack(ids))
  for i, id in ipairs(ids) do
    local charge = charges[i]
    -- Whoever is named twice has no record any more the second time.
    local record = not seen[id] and records[i]
    seen[id] = true
    local state, budgets = record and string.byte(record), nil
    if state and state < 97 then state, budgets = state_of(record) end
    if state == 104 or state == 115 then
      local taken = string.match(record, ':(%d+)$')
      if state == 115 and taken ~= charge then corrected = corrected + 1 end
      if has_wallet and (state == 104 or taken ~= charge) then
        move(taken, charge, wallet)
      end
      if budgets then move_budgets(holds, budgets, taken, charge) end
    else
      if has_wallet then move('0', charge, wallet) end
      if budgets then move_budgets(holds, budgets, '0', charge) end
    end
    if state then gone[#gone + 1] = id end
  end
  if #gone > 0 then call('HDEL', holds, unpack(gone)) end
end
if has_wallet then move(ARGV[3], '0', wallet) end
call('HSET', booked, ARGV[1], ARGV[2])
return {has_wallet and 1 or 2, corrected}
