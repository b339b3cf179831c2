// Another process on the file of a store: it does what it is told, a line of JSON at a time, and answers with one.
import { createInterface } from 'node:readline'
import Database from 'libsql'
import { sqliteStore } from '../../src/stores/sqlite.js'

const [, , path = ''] = process.argv
const db = new Database(path)
const store = sqliteStore({ db })

const event = (data: string) => ({ event: undefined, data, key: undefined })
const say = (what: unknown) => process.stdout.write(`${JSON.stringify(what)}\n`)

const commands: Record<string, (...given: string[]) => unknown> = {
  append: async (stream = '', data = '') => (await store.append(stream, [event(data)]))[0],
  /** Writes and is gone, before anybody could be told. */
  async appendAndDie(stream = '', data = '') {
    await store.append(stream, [event(data)])
    process.kill(process.pid, 'SIGKILL')
  },
  /** Is gone within the transaction of an effect. */
  async dieWithinEffect(key = '') {
    const claim = await store.receipts.claim('', key, 'print', 300)
    if (claim.state !== 'claimed') return claim.state
    return store.receipts.commit?.(claim.lease, '1', (own) => {
      own.prepare('INSERT INTO effects VALUES (?)').run('killed')
      process.kill(process.pid, 'SIGKILL')
    })
  },
  lock: () => void db.exec('BEGIN IMMEDIATE'),
  unlock: () => void db.exec('ROLLBACK'),
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const [name = '', ...given] = JSON.parse(line) as string[]
  try {
    say({ answer: (await commands[name]?.(...given)) ?? null })
  } catch (error) {
    say({ error: String(error) })
  }
})
say('ready')
