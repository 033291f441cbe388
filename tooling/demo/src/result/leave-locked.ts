import { databaseNow } from '../database/clock.js'
import { readLedger } from '../database/evidence.js'
import { readHeld } from '../database/held.js'
import type { Kill } from '../kill.js'
import type { Scene } from '../scene.js'
import { GRAPHILE_LOCK_HOURS } from '../settings.js'
import type { Watch } from '../watch.js'
import type { Outcome } from './outcome.js'
import { count, seconds, wrap } from './words.js'

/** Milliseconds to look on after all other jobs have finished. */
const PATIENCE = 5_000

/** After the kill, without Holdfast: the survivors finish their jobs, and the dead one's stay where they are. */
export async function leaveLocked(scene: Scene, watch: Watch, kill: Kill): Promise<Outcome> {
  const { db, fleet, view, options } = scene
  const held = kill.held.length
  view.alarm(`SIGKILL: ${kill.worker} (pid ${kill.pid}) held ${count(held, 'job')}`)
  await watch.until(({ inFlight, waiting }) => waiting === 0 && inFlight <= held)
  view.event(`all others have finished; the ${held} of ${kill.worker} are locked, so let us wait`)
  const since = performance.now()
  await watch.until(() => performance.now() - since > PATIENCE)
  const lockedForMs = Math.round((await databaseNow(db)) - kill.at)
  const locked = await readHeld(db, kill)
  await fleet.stop()
  const finishes = (await readLedger(db)).filter(({ what }) => what === 'finish')
  const finished = new Set(finishes.map(({ job }) => job))
  // The dead worker may have finished one that graphile-worker then never heard of: that one is locked, too.
  const unfinished = locked.filter(({ job }) => !finished.has(job)).length
  const ok = locked.length === held && finished.size + unfinished === options.jobs
  return {
    ok,
    headline: ok
      ? `Without Holdfast ${count(locked.length, 'job')} stay locked.`
      : `Not as expected: ${kill.worker} held ${held} when it was killed, so the numbers below do not add up.`,
    summary: [
      `${kill.worker} was killed with SIGKILL while it held ${count(held, 'job')}.`,
      `${finished.size} of ${options.jobs} jobs finished. ${locked.length} are still locked by the dead worker ` +
        `${seconds(lockedForMs)} after the kill, and nobody looks after them.`,
      `graphile-worker will release them ${GRAPHILE_LOCK_HOURS} hours after they were locked. A job on its last ` +
        'attempt it will never run again.',
      '',
      'With Holdfast they are running again within seconds: npm run demo',
    ].flatMap((text) => wrap(text)),
    complaints: ok ? '' : fleet.complaints,
    json: {
      jobs: options.jobs,
      inFlightAtKill: held,
      recovered: 0,
      stillLocked: locked.length,
      finished: finished.size,
      lockedForMs,
      graphileReleasesAfterMs: GRAPHILE_LOCK_HOURS * 3_600_000,
      withoutHoldfast: true,
      ok,
    },
  }
}
