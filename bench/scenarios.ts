import { burst, fanOut } from './scenarios/fan-out.js'
import { flat } from './scenarios/flat.js'
import { growth } from './scenarios/growth.js'
import { idle } from './scenarios/idle.js'
import { latency } from './scenarios/latency.js'
import { parse } from './scenarios/parse.js'
import { churn, replay } from './scenarios/replay.js'
import { slow } from './scenarios/slow.js'
import { stores } from './scenarios/stores.js'
import { storm } from './scenarios/storm.js'
import type { Settings } from './settings.js'
import type { Table } from './table.js'

/** Tables come one by one, so that a run that is cut off leaves those that it had. */
export type Scenario = (settings: Settings) => AsyncIterable<Table>

/** By the name that `--only` takes. */
export const scenarios: Record<string, Scenario> = {
  flat,
  'fan-out': fanOut,
  burst,
  idle,
  slow,
  replay,
  churn,
  storm,
  parse,
  latency,
  stores,
  growth,
}
