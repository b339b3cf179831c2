// A process that publishes on Redis until it is killed: the time of each event is its data.
import { createClient } from '@redis/client'
import { createHub } from '../../src/server/index.js'
import { redisStore } from '../../src/stores/redis.js'

const [url = '', prefix = '', stream = ''] = process.argv.slice(2)
const client = createClient({ url })
await client.connect()
const hub = createHub({ store: redisStore({ client, prefix }) })
for (;;) {
  await hub.publish(stream, { data: String(process.hrtime.bigint()) })
  await new Promise((resolve) => setTimeout(resolve, 2))
}
