-- The guard of the online store: rules G1 to G5 of the package comment, for entities of one view.
-- KEYS: the entities. ARGV: head field, tail field, expiry in milliseconds (0: none), then for each key a head and the
-- first part of a tail, which is '' for a head alone and else followed by the number of its pages and, of each, its field
-- and content. A head is a format byte, its version (bytes 2 to 25), its tail's (26 to 49), which pages that has (50 to
-- 53) and the place behind the last of them (the latter two bytes).
-- The reply has a letter for each key: A(ccepted), R(efused), T(ail needed), W(rong type).
local parts, sub, call, pcall = struct.unpack, string.sub, redis.call, redis.pcall
local headField, tailField, expire = ARGV[1], ARGV[2], tonumber(ARGV[3])
local noTail = string.rep('\0', 24)

-- Strings are compared for equality only: their order depends on the locale.
local function older(new, old)
  local a, b, c, d, e, f = parts('>I4I4I4I4I4I4', new, 2)
  local u, v, w, x, y, z = parts('>I4I4I4I4I4I4', old, 2)
  if a ~= u then return a < u end
  if b ~= v then return b < v end
  if c ~= w then return c < w end
  if d ~= x then return d < x end
  if e ~= y then return e < y end
  return f < z
end

-- Deletes the pages of a stored head's tail.
local function dropPages(key, old)
  local fields = {}
  for place = 0, parts('<I2', old, 52) - 1 do fields[place + 1] = tailField .. place end
  if fields[1] then call('HDEL', key, unpack(fields)) end
end

-- The pages are ARGV from first to last.
local function write(key, head, tail, first, last)
  local old = pcall('HGET', key, headField)
  if type(old) == 'table' then return 'W' end
  local known = old and #old >= 53
  if known and older(head, old) then return 'R' end
  local drop = false
  if tail == '' then
    local want = sub(head, 26, 49)
    if not known or sub(old, 26, 49) ~= want then
      if want ~= noTail then return 'T' end
      drop = true
    end
  end
  local left = expire > 0 and call('PTTL', key)
  if known and (drop or tail ~= '') and sub(old, 50, 53) ~= sub(head, 50, 53) then dropPages(key, old) end
  if tail == '' then
    call('HSET', key, headField, head)
    if drop then call('HDEL', key, tailField) end
  elseif last < first then
    call('HSET', key, headField, head, tailField, tail)
  else
    call('HSET', key, headField, head, tailField, tail, unpack(ARGV, first, last))
  end
  if expire == 0 then
    call('PERSIST', key)
  elseif left == -2 or (left >= 0 and left * 2 < expire) then
    call('PEXPIRE', key, expire)
  end
  return 'A'
end

local out, at = {}, 4
for i = 1, #KEYS do
  local head, tail, first, last = ARGV[at], ARGV[at + 1], at + 3, at + 2
  if tail == '' then
    at = at + 2
  else
    last = last + 2 * tonumber(ARGV[at + 2])
    at = last + 1
  end
  out[i] = write(KEYS[i], head, tail, first, last)
end
return table.concat(out)
