import assert from 'node:assert/strict'
import type { DecidedJob, JobOutcome, QueueAdapter, RecoveryContext } from '@holdfast/core'
import type { Fleet } from '../fleet.js'
import type { HeldJob, TestQueue } from '../setup.js'
import { area, type Suite } from '../suite.js'

export async function addMany(fleet: Fleet, count: number, work: { gate?: string } = {}): Promise<HeldJob[]> {
  const jobs: HeldJob[] = []
  for (let n = 0; n < count; n++) jobs.push(await fleet.add(work))
  return jobs
}

/** Has a worker run all that is runnable, and sees each of these jobs run once more, and once only. */
export async function runsOnceMore(fleet: Fleet, jobs: readonly HeldJob[]): Promise<void> {
  for (const job of jobs) {
    const copies = await fleet.copies(job)
    assert.deepEqual(
      copies.map(({ state }) => state),
      ['runnable'],
      `${job.work.key} is there once, to be run`,
    )
  }
  const before = new Map(jobs.map((job) => [job, fleet.runs(job).length]))
  fleet.openGate('again')
  const worker = await fleet.worker()
  for (const job of jobs) await fleet.ended(job)
  await fleet.settled(worker.processId)
  // Whatever else was runnable by then has begun before this one.
  await fleet.finished(await fleet.add())
  for (const job of jobs)
    assert.equal(fleet.runs(job).length - before.get(job)!, 1, `${job.work.key} runs once more`)
  await worker.stop()
}

/** The first recovery that an adapter is asked for, to be repeated. */
function recorded(): {
  around: (adapter: QueueAdapter) => QueueAdapter
  repeat(): Promise<readonly JobOutcome[]>
} {
  let seen: { adapter: QueueAdapter; jobs: readonly DecidedJob[]; context: RecoveryContext } | undefined
  return {
    around: (adapter) =>
      Object.freeze<QueueAdapter>({
        ...adapter,
        recover(jobs, context) {
          seen = { adapter, jobs, context }
          return adapter.recover(jobs, context)
        },
      }),
    async repeat() {
      const { adapter, jobs, context } = seen!
      const alive: RecoveryContext = Object.create(context, {
        signal: { value: new AbortController().signal },
      })
      return adapter.recover(jobs, alive)
    },
  }
}

const SWEEPERS = 8

/** Nothing is recovered twice, nothing is lost. */
export function once<Queue extends TestQueue>(suite: Suite<Queue>): void {
  area(
    suite,
    'a recovery',
    async () => undefined,
    (it) => {
      it(`raced by ${SWEEPERS} sweepers brings each job back once`, async (fleet) => {
        const monitors = await Promise.all(
          Array.from({ length: SWEEPERS }, () => fleet.monitor({ batchSize: 3 })),
        )
        const { processId, jobs } = await fleet.victim(await addMany(fleet, 30, { gate: 'again' }))
        await Promise.all(monitors.map((monitor) => fleet.recover(monitor, processId)))
        assert.deepEqual(await fleet.records.tasksOf(processId), [])
        await runsOnceMore(fleet, jobs)
      })

      it('counts as one crash of each job', async (fleet) => {
        const counts = [...(await fleet.records.crashes()).values()]
        assert.equal(counts.length, 30)
        assert.deepEqual(new Set(counts), new Set([1]))
      })
    },
  )

  area(
    suite,
    'a repeated recovery',
    async (fleet) => {
      const record = recorded()
      const monitor = await fleet.monitor({ around: record.around })
      return { monitor, repeat: record.repeat }
    },
    (it) => {
      it('changes nothing while the job waits, and nothing after it has run', async (fleet, {
        monitor,
        repeat,
      }) => {
        const { atomicRecovery } = await fleet.capabilities()
        const { processId, jobs } = await fleet.victim(await addMany(fleet, 5, { gate: 'again' }))
        await fleet.recover(monitor, processId)
        // In one transaction with the end of the row it can't be repeated: the next area has it undone instead.
        if (!atomicRecovery) await repeat()
        await runsOnceMore(fleet, jobs)
        if (atomicRecovery) return
        await repeat()
        for (const job of jobs) {
          const state = await fleet.state(job)
          assert.ok(
            state === undefined || state === 'completed',
            `${job.work.key} has run, and is now ${state}`,
          )
        }
      })
    },
  )
}
