import type { Evidence } from '../database/evidence.js'
import type { Kill } from '../kill.js'
import { GRAPHILE_LOCK_HOURS, MONITOR } from '../settings.js'
import type { Times } from './times.js'
import type { Verdict } from './verdict.js'
import { count, jobsByKind, seconds, wrap } from './words.js'

export interface Findings {
  readonly kill: Kill
  readonly evidence: Evidence
  readonly verdict: Verdict
  readonly times: Times
  /** The worker that found the killed one dead. */
  readonly finder: string
}

/** Milliseconds between a recovery and the start after which the survivors must have been busy. */
const BUSY = 1_000

/** The end of a demo with Holdfast, in words. */
export function summarize({ kill, evidence, verdict, times, finder }: Findings): string[] {
  const jobs = evidence.jobs.length
  const held = kill.held.length
  return [
    `${kill.worker} was killed with SIGKILL while it held ${jobsByKind(kill.held)}.`,
    aboutRecovery({ held, recovered: verdict.recovered.length, finder }, times),
    `${verdict.finished.length} of ${jobs} jobs finished: ${verdict.lost.length} lost, ` +
      `${verdict.recoveredTwice.length} recovered twice, ${verdict.finishedTwice.length} finished twice.`,
    ...aboutTheDead(kill, verdict),
    '',
    `Plain graphile-worker would have kept these ${count(held, 'job')} locked for ${GRAPHILE_LOCK_HOURS} hours, and ` +
      'a job on its last attempt for ever. To see it: npm run demo -- --without-holdfast',
  ].flatMap((text) => wrap(text))
}

function aboutRecovery(
  { held, recovered, finder }: { held: number; recovered: number; finder: string },
  { detectionMs, recoveredMs, rerunMs }: Times,
): string {
  if (detectionMs === null || recoveredMs === null) return 'Nobody found it dead.'
  const found = `${finder} found it dead after ${seconds(detectionMs)} and recovered ${recovered} of ${held}.`
  if (rerunMs === null) return `${found} Not all of them started again.`
  const busy = rerunMs - recoveredMs > BUSY ? ': the survivors had jobs of their own' : ''
  const { heartbeatInterval, orphanThreshold } = MONITOR
  return (
    `${found} The last one had started again after ${seconds(rerunMs)}${busy}. (Here a lease lasts ` +
    `${seconds(orphanThreshold)}, with a heartbeat every ${seconds(heartbeatInterval)}.)`
  )
}

function aboutTheDead(kill: Kill, { finishedByTheDead }: Verdict): string[] {
  if (finishedByTheDead.length === 0) return []
  return [
    `(${count(finishedByTheDead.length, 'job')} of ${kill.worker} had written the finish row in the instant before ` +
      'the kill, too late for graphile-worker to hear of it, and so ran again: execution is at least once.)',
  ]
}
