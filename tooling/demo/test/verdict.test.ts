import { describe, expect, test } from 'vitest'
import type { Evidence, LedgerEntry, RecoveryEntry } from '../src/database/evidence.js'
import { problemsOf } from '../src/result/problems.js'
import { judge } from '../src/result/verdict.js'

const DEAD = 'host:1:dead'
const ALIVE = 'host:2:alive'
const OTHER = 'host:3:other'

/** Job 1 ran undisturbed; job 2 was in flight in the killed process, which had started it. */
function evidence({
  ledger = [],
  recoveries = [],
  remains = {},
}: {
  ledger?: LedgerEntry[]
  recoveries?: RecoveryEntry[]
  remains?: Partial<Evidence['remains']>
} = {}): Evidence {
  return {
    jobs: [
      { job: 1, kind: 'guard' },
      { job: 2, kind: 'guard' },
    ],
    ledger: [start(1, ALIVE, 10), finish(1, ALIVE, 20), start(2, DEAD, 30), ...ledger],
    recoveries,
    remains: { jobs: 0, tasks: 0, quarantined: 0, ...remains },
  }
}

const entry =
  (what: LedgerEntry['what']) =>
  (job: number, processId: string | null, at: number): LedgerEntry => ({
    what,
    job,
    processId,
    at,
    worker: 'w',
  })
const start = entry('start')
const finish = entry('finish')
const fail = entry('fail')
const recovery = (
  job: number | null,
  at: number,
  fromProcess = DEAD,
  outcome = 'requeued',
): RecoveryEntry => ({
  job,
  at,
  fromProcess,
  outcome,
  byProcess: ALIVE,
})

const killed = { processId: DEAD, held: [{ job: 2 }] }
const verdictOf = (parts: Parameters<typeof evidence>[0]) => judge(evidence(parts), killed)

const good = { recoveries: [recovery(2, 50)], ledger: [start(2, ALIVE, 60), finish(2, ALIVE, 70)] }

describe('a verdict is good', () => {
  test('when the job in flight was recovered once and finished', () => {
    const verdict = verdictOf(good)
    expect(verdict).toMatchObject({ finished: [1, 2], recovered: [2], lost: [], recoveredTwice: [] })
    expect(problemsOf(verdict)).toEqual([])
  })

  test('when the dead process had locked the job and not started it', () => {
    const all = evidence(good)
    const ledger = all.ledger.filter(({ processId }) => processId !== DEAD)
    expect(problemsOf(judge({ ...all, ledger }, killed))).toEqual([])
  })

  test('when the dead process had finished the job just before its end, and says so', () => {
    const verdict = verdictOf({ ...good, ledger: [finish(2, DEAD, 40), ...good.ledger] })
    expect(problemsOf(verdict)).toEqual([])
    expect(verdict).toMatchObject({ finishedByTheDead: [2], finishedTwice: [], recoveredTwice: [] })
  })

  test('when the dead process had finished the job and its queue knew, so that it did not run again', () => {
    const verdict = verdictOf({
      ledger: [finish(2, DEAD, 40)],
      recoveries: [recovery(2, 50, DEAD, 'finished')],
    })
    expect(problemsOf(verdict)).toEqual([])
    expect(verdict).toMatchObject({ recovered: [], notRecovered: [], finishedByTheDead: [] })
  })

  test('when a survivor was declared dead, too, and its jobs went to a third', () => {
    const recoveries = [recovery(2, 50), recovery(2, 80, ALIVE)]
    const ledger = [start(2, ALIVE, 60), finish(2, ALIVE, 70), start(2, OTHER, 90), finish(2, OTHER, 95)]
    expect(problemsOf(verdictOf({ recoveries, ledger }))).toEqual([])
  })

  test('when such a survivor wakes up late and only then writes that it started', () => {
    const recoveries = [recovery(2, 50), recovery(2, 80, ALIVE)]
    const ledger = [start(2, OTHER, 90), start(2, ALIVE, 91), finish(2, OTHER, 95)]
    expect(problemsOf(verdictOf({ recoveries, ledger }))).toEqual([])
  })

  test('when a job failed and its queue tried it again', () => {
    const ledger = [start(2, ALIVE, 60), fail(2, ALIVE, 65), start(2, ALIVE, 68), finish(2, ALIVE, 70)]
    expect(problemsOf(verdictOf({ ...good, ledger }))).toEqual([])
  })

  test('when its process gave a job back alive, more than once', () => {
    const released = `released:${ALIVE}`
    const recoveries = [recovery(2, 50), recovery(2, 62, released), recovery(2, 66, released)]
    const ledger = [start(2, ALIVE, 60), start(2, ALIVE, 64), start(2, ALIVE, 68), finish(2, ALIVE, 70)]
    expect(problemsOf(verdictOf({ recoveries, ledger }))).toEqual([])
  })
})

describe('a verdict is bad', () => {
  test('when a job never finished', () => {
    const verdict = verdictOf({ ...good, ledger: [start(2, ALIVE, 60)] })
    expect(verdict.lost).toEqual([2])
    expect(problemsOf(verdict)).toEqual(['job 2: lost: it never finished'])
  })

  test('when a job that nobody killed never finished', () => {
    const all = evidence(good)
    const verdict = judge({ ...all, ledger: all.ledger.filter(({ job }) => job !== 1) }, killed)
    expect(verdict.lost).toEqual([1])
    expect(problemsOf(verdict)).toHaveLength(1)
  })

  test('when the history has two recoveries for one death', () => {
    const verdict = verdictOf({ ...good, recoveries: [recovery(2, 50), recovery(2, 55)] })
    expect(verdict.recoveredTwice).toEqual([2])
    expect(problemsOf(verdict)).toEqual(['job 2: recovered twice, or started once too often'])
  })

  test('when survivors started it twice though the history knows of one recovery', () => {
    const ledger = [start(2, ALIVE, 60), start(2, OTHER, 61), finish(2, ALIVE, 70)]
    const verdict = verdictOf({ ...good, ledger })
    expect(verdict.recoveredTwice).toEqual([2])
    expect(problemsOf(verdict)).toHaveLength(1)
  })

  test('when survivors started it before anybody had recovered it', () => {
    const ledger = [start(2, OTHER, 45), start(2, ALIVE, 60), finish(2, ALIVE, 70)]
    expect(verdictOf({ ...good, ledger }).recoveredTwice).toEqual([2])
  })

  test('when a job of a living process was started twice', () => {
    const verdict = verdictOf({ ...good, ledger: [...good.ledger, start(1, OTHER, 15)] })
    expect(verdict.recoveredTwice).toEqual([1])
  })

  test('when two survivors finished it', () => {
    const verdict = verdictOf({ ...good, ledger: [...good.ledger, finish(2, OTHER, 75)] })
    expect(verdict.finishedTwice).toEqual([2])
    expect(problemsOf(verdict)).toHaveLength(1)
  })

  test('when the dead process finished it twice', () => {
    const verdict = verdictOf({ ...good, ledger: [finish(2, DEAD, 40), finish(2, DEAD, 41), ...good.ledger] })
    expect(verdict.finishedTwice).toEqual([2])
  })

  test('when the dead process finished it after it had been recovered', () => {
    const verdict = verdictOf({ ...good, ledger: [finish(2, DEAD, 55), ...good.ledger] })
    expect(verdict.finishedTwice).toEqual([2])
  })

  test('when the job in flight was not recovered, even if it finished somehow', () => {
    const verdict = verdictOf({ ...good, recoveries: [] })
    expect(verdict.notRecovered).toEqual([2])
    expect(verdict.recoveredTwice).toEqual([2])
  })

  test.each(['exhausted', 'quarantined', 'finished'])('when it was only %s', (outcome) => {
    const verdict = verdictOf({ recoveries: [recovery(2, 50, DEAD, outcome)] })
    expect(verdict).toMatchObject({ lost: [2], notRecovered: [2], recovered: [] })
  })

  test.each([1, null])('when job %s was recovered from the dead process, which did not hold it', (job) => {
    const verdict = verdictOf({ ...good, recoveries: [recovery(2, 50), recovery(job, 50)] })
    expect(verdict.recoveredForNothing).toEqual([job])
    expect(problemsOf(verdict)).toHaveLength(1)
  })

  test.each(['jobs', 'tasks', 'quarantined'] as const)('when %s remain', (what) => {
    expect(problemsOf(verdictOf({ ...good, remains: { [what]: 1 } }))).toHaveLength(1)
  })
})

test('many bad jobs are not all named', () => {
  const jobs = Array.from({ length: 20 }, (_, n) => ({ job: n + 1, kind: 'guard' as const }))
  const [problem] = problemsOf(judge({ ...evidence(), ledger: [], jobs }, { processId: DEAD, held: [] }))
  expect(problem).toBe('jobs 1, 2, 3, 4, 5, 6, 7, 8 and 12 more: lost: they never finished')
})
