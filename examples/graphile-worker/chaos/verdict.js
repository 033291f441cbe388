// Judges the ledger. An entry is { what, job?, worker?, pid, at } and its place in the file is its time.
//
// A job is LOST when it was added and is not over in the end, nor in quarantine: its answer is missing, or graphile-worker
// has it still. So is one that is stuck: Holdfast has a row of it still, and no worker is left.
//
// A job is DOUBLED when more than one answer to it was committed; or when it was started again after it was over, or
// although an earlier run of it had not been cut short. A run is cut short only if, after it had begun, its own process
// was killed, paused for longer than its lease, or stopped, or if Postgres was away: its lease may have run out then, what
// it wrote have failed, or graphile-worker have ended the process. And if the machine was too busy: if not even the pulse
// of the script itself, which does nothing else, got through in time.
//
// So harm to another process never excuses a second run, and each of several runs needs an excuse of its own. What is
// left as legitimate is what "at least once" means. A second answer is never legitimate.

import { harmToWorkers, intervals, overlaps } from '@holdfast/chaos/harm'

/** @returns {{ lost: string[], doubled: string[] }} ids */
export function judge(entries) {
  const harms = [
    ...harmToWorkers(entries),
    ...intervals(entries, { outage: 'outageOver' }),
    ...lateBeats(entries),
  ]
  const cutShort = ({ pid, at }, before) =>
    harms.some((harm) => (harm.worker ?? pid) === pid && overlaps(harm, at, before))
  const { over, answeredTwice, quarantined, stuck } = entries.findLast(({ what }) => what === 'judged')

  const isLost = (id) => !over.includes(id) && !quarantined.includes(id)
  const isDoubled = (id, { runs, overAt }) =>
    answeredTwice.includes(id) ||
    runs.some((run, n) => run.at > overAt || runs.slice(0, n).some((earlier) => !cutShort(earlier, run.at)))

  const jobs = [...jobsOf(entries)]
  return {
    lost: [
      ...jobs.flatMap(([id]) => (isLost(id) ? [id] : [])),
      ...stuck.map((id) => `graphile-worker's ${id}`),
    ],
    doubled: jobs.flatMap(([id, job]) => (isDoubled(id, job) ? [id] : [])),
  }
}

/** When the pulse took twice as long as it should; and a lease's time after, in which others may feel it. */
function lateBeats(entries) {
  const { heartbeatInterval, orphanThreshold } = entries.find(({ what }) => what === 'began').monitor
  const beating = entries.flatMap(({ what }, at) => (what === 'beating' ? [at] : []))
  return beating.flatMap((from) => {
    const to = entries.findIndex(({ what }, at) => at > from && what === 'beat')
    const end = entries[to]?.at ?? Number.POSITIVE_INFINITY
    if (end - entries[from].at < 2 * heartbeatInterval) return []
    const after = entries.findIndex(({ at }) => at > end + orphanThreshold)
    return [{ worker: undefined, from, to: after === -1 ? entries.length : after }]
  })
}

/** What the entries say of each job that was added, by its id. */
function jobsOf(entries) {
  const jobs = new Map()
  for (const { what, job } of entries) {
    if (what === 'added') jobs.set(job, { runs: [], overAt: Number.POSITIVE_INFINITY })
  }
  entries.forEach(({ what, job, pid }, at) => {
    if (what === 'started') jobs.get(job)?.runs.push({ pid, at })
    if (what === 'over') jobs.get(job).overAt = at
  })
  return jobs
}

/** The last line of a run. */
export function summary(entries, recovered) {
  const count = (what) => entries.filter((entry) => entry.what === what).length
  const { lost, doubled } = judge(entries)
  return {
    jobs: count('added'),
    lost: lost.length,
    doubled: doubled.length,
    quarantined: entries.findLast(({ what }) => what === 'judged').quarantined.length,
    kills: count('killing'),
    pauses: count('pausing'),
    stops: count('stopping'),
    outages: count('outage'),
    recovered,
  }
}
