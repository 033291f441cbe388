import { type Child, until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { graphileWorkerAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'

/** Killed; or declared dead, as it was late: a supervisor starts it anew in either case. */
const isDown = ({ process, messages }: Child): boolean =>
  process.signalCode !== null ||
  messages.some((message) => (message as { type: string }).type === 'runnerEnded')

it('a guarded job that kills its processes takes no innocent one along into quarantine', async () => {
  await using fixture = await Fixture.create()
  const options = { monitor: { maxRecoveries: 2 }, pollInterval: 200 }
  const innocents: string[] = []
  for (let n = 0; n < 5; n++) innocents.push(await fixture.add('guarded', { gate: 'open' }))
  const killer = await fixture.add('guarded', { kill: 'go' })
  const running = new Set<Child>([await fixture.worker(options)])
  await fixture.started(6)
  await fixture.openGate('go')
  const starts = async (): Promise<number> =>
    (await fixture.ledger('start')).filter(({ job }) => job === killer).length
  // One may finish twice: its process was killed before it could say so.
  const finished = async (): Promise<Set<string>> =>
    new Set((await fixture.ledger('finish')).map(({ job }) => job))
  await until(async () => {
    for (const worker of running) {
      if (!isDown(worker)) continue
      running.delete(worker)
      running.add(await fixture.worker(options))
    }
    // All of them have been in flight in two dying processes by then.
    if ((await starts()) >= 2) await fixture.openGate('open').catch(() => undefined)
    return (await fixture.quarantine()).length > 0 && (await finished()).size === 5
  })
  const reason = 'in flight in 3 dying processes, more than maxRecoveries (2) allows'
  expect(await fixture.quarantine()).toEqual([{ jobRef: killer, reason }])
  expect(await finished()).toEqual(new Set(innocents))
  for (const { jobRef, count } of await fixture.crashes()) {
    if (jobRef !== killer) expect(count).toBeLessThanOrEqual(2)
  }
  await until(async () => (await fixture.jobs()).length === 1)
  expect(await fixture.jobs()).toEqual([
    expect.objectContaining({ id: killer, lastError: reason, lockedBy: null, available: false }),
  ])
}, 120_000)

describe('a job that kills every process that runs it', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('waits from its second crash on as long as graphile-worker would let it wait', async () => {
    const options = { monitor: { recoveryBackoff: 1 } }
    await fixture.add('guarded', { kill: true })
    await (await fixture.worker(options)).exited
    await (await fixture.worker(options)).exited
    // It recovers, and runs nothing.
    await fixture.worker({ ...options, runner: { taskList: {} } })
    await until(async () => (await fixture.jobs())[0]!.lockedBy === null)
    const { rows } = await sql<{ seconds: number }>`
      select extract(epoch from run_at - now())::float8 as seconds from graphile_worker._private_jobs`.execute(
      fixture.db,
    )
    expect(rows[0]!.seconds).toBeGreaterThan(Math.exp(2) - 5)
    expect(rows[0]!.seconds).toBeLessThan(Math.exp(2))
    expect(await fixture.ledger('start')).toHaveLength(2)
  })

  it('may be let run once more by a person when it had been handed off and was removed since', async () => {
    const options = { monitor: { maxRecoveries: 1, recoveryBackoff: 1 }, pollInterval: 200 }
    await fixture.add('handed', { gate: 'open' }, { jobKey: 'k', maxAttempts: 5 })
    for (let run = 1; run <= 2; run++) {
      const worker = await fixture.worker(options)
      await fixture.started(run)
      await until(async () => (await fixture.jobs()).length === 0)
      await worker.kill()
    }
    await fixture.worker(options)
    const { quarantine } = new TaskMonitor({ db: fixture.db, adapters: [graphileWorkerAdapter()] })
    const [entry] = await until(async () => {
      const entries = await quarantine.list()
      return entries.length > 0 ? entries : undefined
    })
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ available: false, key: 'k' })])
    await sql`delete from graphile_worker._private_jobs`.execute(fixture.db)
    expect(await quarantine.retry(entry!.id)).toMatchObject({ kind: 'requeued' })
    await fixture.openGate('open')
    await fixture.finished(1)
    expect((await fixture.ledger('start')).map(({ attempts }) => attempts)).toHaveLength(3)
    await until(async () => (await fixture.jobs()).length === 0)
  })
})
