import type { MonitorConfig, TaskMonitorOptions } from './options.js'
import { MAX_BACKOFF } from './recovery/decide.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const YEAR = 365 * DAY

/** Below this a round trip to the database takes as long as the interval, and every heartbeat is late. */
const LEAST_HEARTBEAT = 50

/** Sweeps come after their interval and up to a fifth more. */
const SWEEP_JITTER = 1.2

/** Pauses are given or taken a fifth. */
const BACKOFF_JITTER = 1.2

/** Most milliseconds of each: far below where timers and columns of the database overflow. */
const MOST = {
  heartbeatInterval: DAY,
  // Whoever judges a process must have beaten without a gap for as long as that one's lease.
  orphanThreshold: DAY,
  safetyMargin: DAY,
  // Timers take no more, give or take a fifth.
  sweepInterval: 20 * DAY,
  gcLockTtl: DAY,
  recoveryBackoff: MAX_BACKOFF,
  crashWindow: 100 * YEAR,
  historyRetention: 100 * YEAR,
} as const

type Time = keyof typeof MOST

type Times = Pick<MonitorConfig, Time | 'maxLoopBlock' | 'maxRecoveries' | 'recoveryRate'>

/**
 * The times with those that were not given: they follow the given ones, as far as their own limits go, so that whoever
 * makes one longer is not refused for the others.
 */
export function resolveTimes(given: TaskMonitorOptions): Times {
  const { orphanThreshold: lease } = given
  const margin = given.safetyMargin ?? 0
  const heartbeatInterval =
    given.heartbeatInterval ??
    (lease == null
      ? 3_000
      : Math.max(LEAST_HEARTBEAT, Math.floor(Math.min(3_000, lease / 4, (lease - margin) / 2))))
  const orphanThreshold =
    lease ?? atMost('orphanThreshold', 12_000, 4 * heartbeatInterval, margin + 3 * heartbeatInterval)
  const safetyMargin = given.safetyMargin ?? heartbeatInterval
  const times = {
    ...{ heartbeatInterval, orphanThreshold, safetyMargin },
    maxRecoveries: given.maxRecoveries ?? 3,
    sweepInterval: given.sweepInterval ?? 3_000,
    gcLockTtl: given.gcLockTtl ?? atMost('gcLockTtl', 30_000, 2 * (safetyMargin + heartbeatInterval)),
    recoveryBackoff: given.recoveryBackoff ?? 1_000,
    recoveryRate: given.recoveryRate ?? 1_000,
    historyRetention: given.historyRetention ?? 7 * DAY,
    maxLoopBlock: given.maxLoopBlock ?? Math.max(60_000, heartbeatInterval),
  }
  return {
    ...times,
    crashWindow: given.crashWindow ?? atMost('crashWindow', 72 * HOUR, leastCrashWindow(times)),
  }
}

const atMost = (name: Time, ...wanted: number[]): number => Math.min(MOST[name], Math.max(...wanted))

/**
 * Twice what passes from one crash of a job to its next where nothing else takes time: counted when it is recovered, it
 * waits for its pause, crashes again, and is found dead, and recovered when the rate allows one more. With less its
 * crashes are forgotten one after the other.
 */
function leastCrashWindow({
  orphanThreshold,
  sweepInterval,
  recoveryRate,
  ...rest
}: Omit<Times, 'crashWindow'>): number {
  const between = orphanThreshold + SWEEP_JITTER * sweepInterval + longestPause(rest) + 1_000 / recoveryRate
  return Math.ceil(2 * between)
}

/** The longest pause between two crashes of which the later one is within `maxRecoveries`, or the first beyond. */
const longestPause = ({
  recoveryBackoff,
  maxRecoveries,
}: Pick<Times, 'recoveryBackoff' | 'maxRecoveries'>): number =>
  maxRecoveries < 2 ? 0 : BACKOFF_JITTER * Math.min(MAX_BACKOFF, recoveryBackoff * 2 ** (maxRecoveries - 1))

/** What is wrong with the times, each alone and in pairs. */
export function timeProblems(times: Times, given: TaskMonitorOptions): string[] {
  const wrong = (Object.keys(MOST) as Time[]).filter(
    (name) => given[name] != null && !isTime(times[name], name),
  )
  // What follows from a wrong option is not another mistake.
  if (wrong.length > 0) return wrong.map((name) => `${name} must be ${rangeOf(name)}: ${String(given[name])}`)
  return pairProblems(times)
}

const leastOf = (name: Time): number => (name === 'heartbeatInterval' ? LEAST_HEARTBEAT : 0)

const isTime = (value: unknown, name: Time): boolean =>
  typeof value === 'number' && value > 0 && value >= leastOf(name) && value <= MOST[name]

const rangeOf = (name: Time): string =>
  leastOf(name) > 0
    ? `a number of milliseconds from ${leastOf(name)} to ${MOST[name]}`
    : `a positive number of milliseconds, at most ${MOST[name]}`

function pairProblems(times: Times): string[] {
  const { heartbeatInterval, orphanThreshold, safetyMargin, gcLockTtl, crashWindow } = times
  const problems: string[] = []
  const need = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem)
  }
  need(
    orphanThreshold >= 3 * heartbeatInterval,
    `orphanThreshold (${orphanThreshold}) must be at least 3 × heartbeatInterval (3 × ${heartbeatInterval})`,
  )
  need(
    safetyMargin <= orphanThreshold - 2 * heartbeatInterval,
    `safetyMargin (${safetyMargin}) must leave two heartbeats within orphanThreshold (at most ` +
      `${orphanThreshold - 2 * heartbeatInterval}, that is ${orphanThreshold} - 2 × ${heartbeatInterval})`,
  )
  need(
    gcLockTtl >= safetyMargin + heartbeatInterval,
    `gcLockTtl (${gcLockTtl}) must be at least safetyMargin + heartbeatInterval (${safetyMargin} + ` +
      `${heartbeatInterval}): a sweep trusts its lock for gcLockTtl - safetyMargin, and recovers nothing after that`,
  )
  const { maxRecoveries, sweepInterval, recoveryRate } = times
  const pause = longestPause(times)
  need(
    maxRecoveries === 0 || crashWindow >= leastCrashWindow(times),
    `crashWindow (${crashWindow}) must be at least ${leastCrashWindow(times)}, twice what passes from one crash of a job ` +
      `to its next: orphanThreshold (${orphanThreshold}) + 1.2 × sweepInterval (${sweepInterval}) + its pause (up to ` +
      `${Math.ceil(pause)}, by recoveryBackoff) + one recovery (by recoveryRate, ${recoveryRate}); with less its crashes are forgotten, and maxRecoveries ` +
      `(${maxRecoveries}) never reached`,
  )
  return problems
}
