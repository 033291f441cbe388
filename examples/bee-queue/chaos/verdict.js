// Judges the ledger. An entry is { what, job?, worker?, pid } and its place in the file is its time.
//
// A job is LOST when the API accepted it and its producer never got the report; or when bee-queue never accepted its
// success although Redis, where it might have waited to run again, was not wiped after its last run began.
//
// A job is DOUBLED when bee-queue accepted its success twice and Redis, which knew of the first, was not wiped in
// between; or when it was started again although an earlier run of it had not been cut short. A run is cut short only
// if, after it had begun, its own process was killed, paused for longer than its lease, or stopped; once its success
// has been accepted even that is no excuse, unless Redis was wiped as well since the run began.
//
// So a wipe alone never excuses a second run, nor does harm to another process, and each of several runs needs an excuse
// of its own. What is left as legitimate is what "at least once" means: a process can die between the end of the
// handler and the write of its success.

import { harmToWorkers, intervals, overlaps } from '@holdfast/chaos/harm'

/** @returns {{ lost: string[], doubled: string[] }} ids */
export function judge(entries) {
  const harms = harmToWorkers(entries)
  const wipes = intervals(entries, { wiping: 'wiped' })
  const wiped = (from, to = Number.POSITIVE_INFINITY) => wipes.some((wipe) => overlaps(wipe, from, to))
  const harmed = (pid, from, to) => harms.some((harm) => harm.worker === pid && overlaps(harm, from, to))

  const isLost = ({ accepted, answered, runs, knownIn }) =>
    accepted && !(answered && (knownIn.length > 0 || (runs.length > 0 && wiped(runs.at(-1).at))))
  const cutShort = (run, before) =>
    harmed(run.pid, run.at, before) && (run.succeededAt > before || wiped(run.at, before))
  const isDoubled = (job) =>
    acceptedTwice(job) ||
    job.runs.some((run, n) => job.runs.slice(0, n).some((earlier) => !cutShort(earlier, run.at)))

  const jobs = [...jobsOf(entries)]
  const ids = (is) => jobs.filter(([, job]) => is(job)).map(([id]) => id)
  return { lost: ids(isLost), doubled: ids(isDoubled) }
}

/** What the entries say of each job, by its id. Redis has a new life, counted from 0, after each wipe. */
function jobsOf(entries) {
  const jobs = new Map()
  const jobOf = (id) => {
    const unknown = { accepted: false, answered: false, runs: [], successes: [], knownIn: [] }
    return jobs.get(id) ?? jobs.set(id, unknown).get(id)
  }
  let wipesBegun = 0
  let wipesOver = 0
  entries.forEach(({ what, job, pid, succeeded = [] }, at) => {
    if (what === 'accepted' || what === 'answered') jobOf(job)[what] = true
    if (what === 'started') {
      jobOf(job).runs.push({ pid, at, succeededAt: Number.POSITIVE_INFINITY, life: wipesOver })
    }
    if (what === 'succeeded') {
      const run = jobOf(job).runs.findLast((candidate) => candidate.pid === pid)
      run.succeededAt = at
      jobOf(job).successes.push({ firstLife: run.life, lastLife: wipesBegun })
    }
    // At the end of each life what Redis itself had as succeeded: a worker may write so late, or be killed before.
    for (const id of succeeded) jobOf(id).knownIn.push(wipesOver)
    if (what === 'wiping') wipesBegun += 1
    if (what === 'wiped') wipesOver += 1
  })
  return jobs
}

/** Whether one life of Redis has accepted two of the successes: each must be from another life that knew of one. */
function acceptedTwice({ successes, knownIn }) {
  if (successes.length < 2) return false
  const free = new Set(knownIn)
  return successes.some(({ firstLife, lastLife }) => {
    const life = [...free].find((one) => one >= firstLife && one <= lastLife)
    return !free.delete(life)
  })
}

/** The last line of a run. */
export function summary(entries, recovered) {
  const count = (what) => entries.filter((entry) => entry.what === what).length
  const { lost, doubled } = judge(entries)
  return {
    jobs: count('accepted'),
    lost: lost.length,
    doubled: doubled.length,
    kills: count('killing'),
    pauses: count('pausing'),
    stops: count('stopping'),
    wipes: count('wiping'),
    reposted: count('reposted'),
    recovered,
  }
}
