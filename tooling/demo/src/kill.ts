import { until } from '@holdfast/chaos'
import { databaseNow } from './database/clock.js'
import { countConnections, type HeldJob, readHeld } from './database/held.js'
import type { Snapshot, WorkerState } from './database/snapshot.js'
import type { Scene } from './scene.js'
import { minimumInFlight } from './settings.js'
import type { Watch } from './watch.js'
import { applicationName } from './worker/application-url.js'

export interface Kill {
  readonly worker: string
  readonly pid: number
  /** The killed process of Holdfast; null without it. */
  readonly processId: string | null
  /** The database's clock in ms just before the SIGKILL. */
  readonly at: number
  /** What it had in flight. */
  readonly held: readonly HeldJob[]
}

/** Waits until work is under way and one worker holds enough jobs, kills that one, and reads what it held. */
export async function killOne(scene: Scene, watch: Watch): Promise<Kill> {
  const { db, fleet, options, signal } = scene
  const minimum = minimumInFlight(options.jobs)
  const { worker, pid, processId } = await chooseVictim(watch, options.jobs, minimum)
  const at = await databaseNow(db)
  await fleet.get(worker).kill()
  await until(
    async () => {
      signal.throwIfAborted()
      return (await countConnections(db, applicationName(worker))) === 0
    },
    { timeout: 10_000, what: `the connections of ${worker} end` },
  )
  const held = await readHeld(db, { worker, processId })
  if (held.length < minimum) {
    throw new Error(`${worker} held only ${held.length} jobs when it was killed, not ${minimum}. Try again.`)
  }
  return { worker, pid, processId, at, held }
}

async function chooseVictim(watch: Watch, jobs: number, minimum: number): Promise<WorkerState> {
  // A few jobs may end between this look and the kill.
  const enough = minimum + Math.floor(minimum / 6)
  let most = 0
  const busiest = ({ workers }: Snapshot): WorkerState | undefined => {
    const [first] = [...workers].sort((a, b) => b.inFlight - a.inFlight)
    most = Math.max(most, first?.inFlight ?? 0)
    return first
  }
  const snapshot = await watch.until((now) => {
    const tooLate = jobs - now.finished < enough
    return tooLate || (now.finished >= jobs / 10 && (busiest(now)?.inFlight ?? 0) >= enough)
  })
  const victim = busiest(snapshot)
  if (victim !== undefined && victim.inFlight >= enough) return victim
  throw new Error(`No worker ever held ${enough} of the ${jobs} jobs at once; the most was ${most}.`)
}
