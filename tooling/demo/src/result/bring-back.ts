import { readComeback } from '../database/comeback.js'
import { readEvidence } from '../database/evidence.js'
import type { Kill } from '../kill.js'
import type { Scene } from '../scene.js'
import type { Watch } from '../watch.js'
import type { Outcome } from './outcome.js'
import { problemsOf } from './problems.js'
import { summarize } from './summary.js'
import { timesOf } from './times.js'
import { judge } from './verdict.js'
import { count, jobsByKind, seconds } from './words.js'

/** After the kill, with Holdfast: the survivors find the dead one, and its jobs come back. */
export async function bringBack(scene: Scene, watch: Watch, kill: Kill): Promise<Outcome> {
  const { db, fleet, view, options } = scene
  view.alarm(`SIGKILL: ${kill.worker} (pid ${kill.pid}) held ${jobsByKind(kill.held)}`)
  const finder = await followComeback(scene, watch, kill)
  // Once nobody is left who could write, the numbers can't change any more.
  await fleet.stop()
  const evidence = await readEvidence(db)
  const verdict = judge(evidence, kill)
  const times = timesOf(evidence, kill)
  const problems = problemsOf(verdict)
  const ok = problems.length === 0
  return {
    ok,
    headline: ok
      ? 'Nothing was lost, and nothing was recovered twice.'
      : `Not as promised: ${problems.join('; ')}.`,
    summary: summarize({ kill, evidence, verdict, times, finder }),
    complaints: ok ? '' : fleet.complaints,
    json: {
      jobs: options.jobs,
      inFlightAtKill: kill.held.length,
      recovered: verdict.recovered.length,
      lost: verdict.lost.length,
      recoveredTwice: verdict.recoveredTwice.length,
      detectionMs: times.detectionMs,
      finished: verdict.finished.length,
      finishedTwice: verdict.finishedTwice.length,
      finishedByTheDead: verdict.finishedByTheDead.length,
      recoveredMs: times.recoveredMs,
      rerunMs: times.rerunMs,
      finishedMs: times.finishedMs,
      ok,
      problems,
    },
  }
}

/** Tells what happens until every job has finished; answers who found the dead one. */
async function followComeback({ db, view, options }: Scene, watch: Watch, kill: Kill): Promise<string> {
  let finder = 'another worker'
  let told = 0
  let allBack = false
  const held = kill.held.length
  await watch.until(async ({ workers, finished, inFlight, waiting }) => {
    const back = await readComeback(db, kill)
    if (back.recovered > told) {
      finder = workers.find(({ processId }) => processId === back.byProcess)?.worker ?? finder
      const found =
        told === 0 ? `found ${kill.worker} dead after ${seconds(back.firstAt! - kill.at)} and ` : ''
      view.good(`${finder} ${found}recovered ${back.recovered - told} of ${count(held, 'job')}`)
      told = back.recovered
    }
    if (!allBack && back.restarted === held) {
      allBack = true
      view.good(
        `all ${held} have started again, the last one ${seconds(back.lastStartAt! - kill.at)} after the kill`,
      )
    }
    return finished === options.jobs && inFlight === 0 && waiting === 0
  })
  return finder
}
