// A worker that takes jobs from the table queue, twenty at a time; one of them kills it.
import { childOptions, connect } from '@holdfast/chaos'
import { sql } from 'kysely'
import { type JobOutcome, type QueueAdapter, TaskMonitor, type TaskMonitorOptions } from '../../src/index.js'
import { mortal } from './fast.js'
import { dialect } from './sql.js'

export interface WorkerOptions {
  readonly url: string
  readonly concurrency: number
  readonly monitor?: Partial<TaskMonitorOptions>
}

/** The worker takes a job out of the queue only once it is registered, so a job may be in both places. */
const adapter: QueueAdapter = {
  name: 'table',
  capabilities: { atomicRecovery: true, preservesJobId: true, delay: false },
  async recover(jobs, { trx }) {
    const outcomes: JobOutcome[] = []
    for (const { jobRef, decision } of jobs) {
      if (decision.kind === 'requeue') {
        await sql`insert into jobs (ref, body) values (${jobRef}, 'x') ${dialect.onConflictKeep(['ref'])}`.execute(
          trx,
        )
      }
      outcomes.push(decision.kind === 'requeue' ? { kind: 'requeued', jobRef } : { kind: 'quarantined' })
    }
    return outcomes
  },
}

const { url, concurrency, monitor: overrides }: WorkerOptions = childOptions()
const db = connect(url)
const monitor = new TaskMonitor({ db, adapters: [adapter], ...mortal, ...overrides })
await monitor.start()

const note = (ref: string, what: 'start' | 'end') =>
  sql`insert into ledger (ref, what, pid) values (${ref}, ${what}, ${process.pid})`.execute(db)

/** Those done stay in it: what was read of the queue may be older than their end. */
const taken = new Set<string>()
let running = 0

async function work(ref: string): Promise<void> {
  running += 1
  try {
    await monitor.run({ payload: null, jobRef: ref }, async () => {
      // Before that another life may take the job over from this one, and no crash is counted.
      await sql`delete from jobs where ref = ${ref}`.execute(db)
      await note(ref, 'start')
      if (ref === 'killer') process.kill(process.pid, 'SIGKILL')
      await new Promise((resolve) => setTimeout(resolve, 5 + 20 * Math.random()))
      await note(ref, 'end')
    })
  } catch {
    taken.delete(ref)
  } finally {
    running -= 1
  }
}

for (;;) {
  const { rows } = await sql<{ ref: string }>`select ref from jobs order by ref`.execute(db)
  const free = rows.filter(({ ref }) => !taken.has(ref)).slice(0, concurrency - running)
  for (const { ref } of free) {
    taken.add(ref)
    void work(ref)
  }
  await new Promise((resolve) => setTimeout(resolve, 10))
}
