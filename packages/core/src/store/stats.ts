import type { MonitorStats } from '../monitor-types.js'
import { listProcesses } from './processes.js'
import { countQuarantine } from './quarantine.js'
import type { Store } from './store.js'
import { countTasks } from './tasks.js'

/** What the database holds. */
export async function readStats(store: Store): Promise<MonitorStats> {
  return {
    processes: await listProcesses(store),
    tasks: await countTasks(store),
    quarantined: await countQuarantine(store),
  }
}
