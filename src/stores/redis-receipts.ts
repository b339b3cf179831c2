import { randomEpoch } from '../protocol/cursor.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import { type RedisCommands, texts } from './redis-commands.js'
import { RedisScript } from './redis-line.js'

// A receipt is a hash: `p` fingerprint, `k` token, `s` held since, `u` held until, and once done `a` answer, or `n` for none.
const TIME = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'p', 'k', 's', 'u', 'a', 'n')
local isDone = r[5] or r[6]
`

/** A lease that is over is remembered for a while: whoever is late may still complete it, if nobody else holds it. */
const LATE_MS = 600_000

// ARGV: fingerprint, token, how long it holds. A client that lost the answer may send it again, with the same token.
const claim = new RedisScript(`${TIME}
if isDone then
  if r[1] ~= ARGV[1] then return {'mismatch'} end
  return r[5] and {'done', r[5]} or {'done'}
end
if r[2] and r[2] ~= ARGV[2] and now < tonumber(r[4]) then
  if r[1] ~= ARGV[1] then return {'mismatch'} end
  return {'busy', string.format('%.0f', now - r[3]), string.format('%.0f', r[4] - now)}
end
local til = now + ARGV[3]
redis.call('HSET', KEYS[1], 'p', ARGV[1], 'k', ARGV[2], 's', string.format('%.0f', now), 'u', string.format('%.0f', til))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ARGV[3] + ${LATE_MS}))
return {'claimed'}
`)

// ARGV: token, how long to keep it, 'a' or 'n', answer.
const complete = new RedisScript(`${TIME}
if r[2] ~= ARGV[1] then return {'0'} end
if isDone then return {(r[5] or '') == ARGV[4] and '1' or '0'} end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
if tonumber(ARGV[2]) < 9e15 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('PERSIST', KEYS[1]) end
return {'1'}
`)

// ARGV: token.
const release = new RedisScript(`${TIME}
if r[2] == ARGV[1] and not isDone then redis.call('DEL', KEYS[1]) end
return {}
`)

/** Receipts on Redis: one key each, which expires by itself, in Redis's own time. */
export class RedisReceipts implements Receipts<never> {
  readonly #commands: RedisCommands
  readonly #prefix: string
  readonly #ttlMs: string

  constructor(commands: RedisCommands, prefix: string, ttlMs: string) {
    this.#commands = commands
    this.#prefix = prefix
    this.#ttlMs = ttlMs
  }

  async claim(scope: string, key: string, fingerprint: string, leaseMs: number): Promise<Claim> {
    const token = randomEpoch()
    const args = [fingerprint, token, String(Math.ceil(leaseMs))]
    const [state, ...rest] = await this.#run(claim, scope, key, args)
    if (state === 'claimed') return { state, lease: { scope, key, token } }
    if (state === 'busy') return { state, heldMs: Number(rest[0]), leftMs: Number(rest[1]) }
    return state === 'done' ? { state, answer: rest[0] ?? null } : { state: 'mismatch' }
  }

  async complete({ scope, key, token }: Lease, answer: string | null): Promise<boolean> {
    const args = [token, this.#ttlMs, answer === null ? 'n' : 'a', answer ?? '']
    const [isDone] = await this.#run(complete, scope, key, args)
    return isDone === '1'
  }

  async release({ scope, key, token }: Lease): Promise<void> {
    await this.#run(release, scope, key, [token])
  }

  async #run(script: RedisScript, scope: string, key: string, args: readonly string[]): Promise<readonly string[]> {
    // As JSON no two pairs are alike, whatever is in them.
    const name = `${this.#prefix}:receipt:${JSON.stringify([scope, key])}`
    return texts(await this.#commands.run(script, [name], args)) ?? []
  }
}
