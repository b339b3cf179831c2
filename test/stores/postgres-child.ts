// Another process on the same tables. It publishes once for every message of its parent, with the time on the clock
// that all processes of a machine share; or it dies by SIGKILL between its append and the hint at it.
import { Pool } from 'pg'
import { createHub } from '../../src/server/index.js'
import { postgresStore } from '../../src/stores/postgres.js'
import { tap } from './postgres-world.js'

const [url, schema, stream = '', mode] = process.argv.slice(2)
const dies = mode === 'dies'
const pool = tap(new Pool({ connectionString: url, max: 4 }), (text) => {
  if (dies && text.includes('pg_notify(')) process.kill(process.pid, 'SIGKILL')
  return undefined
})
const store = postgresStore({ schema, pool })
const hub = createHub({ store })

process.on('message', () => {
  void hub.publish(stream, { data: String(process.hrtime.bigint()) })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
