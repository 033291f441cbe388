import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

const hide = () => sql`alter table holdfast_tasks rename to elsewhere`.execute(fixture.db)
const show = () => sql`alter table elsewhere rename to holdfast_tasks`.execute(fixture.db)
const runs = (id: string): object[] =>
  fixture.ledger.entries('start', id).map(({ detail }) => detail as object)

/** How many registrations wait for a lock. */
async function registering(): Promise<number> {
  const { rows } = await sql`select from pg_stat_activity where datname = current_database()
    and wait_event_type = 'Lock' and query ilike '%insert into%holdfast_tasks%'`.execute(fixture.db)
  return rows.length
}

/** Milliseconds that a stop would wait for what nobody lets go. */
const DRAIN = 600_000

/** Milliseconds. A stop that waits for nothing is over by then. */
const SOON = 20_000

const monitor = { onRegisterFailure: 'run-unprotected' as const, orphanThreshold: 60_000 }

describe.each(['track', 'handOff'] as const)('a job that runs unprotected (%s)', (way) => {
  /** A worker whose tasks can't be registered, though its heart beats. */
  async function work(options: object = {}) {
    const worker = await fixture.worker({ way, monitor, handOffConcurrency: 1, ...options })
    await hide()
    return worker
  }

  it('is active while it runs, and completed when that is over', async () => {
    await work()
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    expect(await fixture.places()).toMatchObject({ active: [job.id], completed: [] })
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    expect(runs(job.id)).toMatchObject([{ protected: false }])
    // Its place is free again.
    await fixture.add()
    await fixture.completed(2)
  })

  it('fails by its attempts', async () => {
    await work()
    const job = await fixture.add({ fail: 'on purpose' }, { attempts: 2 })
    await until(async () => (await fixture.places()).failed.includes(job.id), { what: 'it has failed' })
    expect(runs(job.id)).toMatchObject([
      { protected: false, made: 0 },
      { protected: false, made: 1 },
    ])
  })

  it('can’t be given back: that is a failure as any', async () => {
    await work()
    const job = await fixture.add({ endings: ['release'] }, { attempts: 2 })
    await fixture.completed(1)
    expect(runs(job.id)).toMatchObject([{ made: 0 }, { made: 1 }])
    expect((await fixture.hash(job.id)).stacktrace).toContain('runs unprotected')
  })

  it('that is ended by its processor, which throws then, is completed', async () => {
    await work()
    const job = await fixture.add({ endings: ['complete twice'] }, { attempts: 2 })
    await fixture.completed(1)
    expect(runs(job.id)).toHaveLength(1)
    await expect
      .poll(() => fixture.ledger.entries('error'))
      .toMatchObject([{ detail: expect.stringMatching(/the job is completed/) }])
  })

  it('is waited for when its process stops', async () => {
    const leaver = await work({ drain: 600_000 })
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    leaver.send('stop')
    const later = await fixture.add()
    await until(async () => (await fixture.places()).wait.includes(later.id))
    expect(leaver.messages).not.toContainEqual(expect.objectContaining({ type: 'stopped' }))
    fixture.ledger.openGate('open')
    await leaver.message('stopped')
    expect(await fixture.places()).toMatchObject({ completed: [job.id], wait: [later.id] })
  })

  it('is waited for no longer when its worker was closed by force, and it is over', async () => {
    const leaver = await work({ drain: DRAIN })
    await fixture.add({ gate: 'open' })
    await fixture.started(1)
    leaver.send('closeByForce')
    await leaver.message('closed')
    fixture.ledger.openGate('open')
    leaver.send('stop')
    await leaver.message('stopped', SOON)
    expect(fixture.ledger.entries('finish')).toHaveLength(1)
  })

  it('comes back by BullMQ’s own check when its process dies', async () => {
    const settings = { lockDuration: 1_000, stalledInterval: 300 }
    const victim = await work({ settings })
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await victim.kill()
    await show()
    await fixture.worker({ way, settings })
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(runs(job.id)).toMatchObject([{ protected: false }, { protected: true }])
    expect(await fixture.crashes()).toEqual([])
  })
})

it.runIf(onPostgres())(
  'a job that could not be protected and is not begun any more lets its process stop',
  async () => {
    const leaver = await fixture.worker({ monitor, drain: DRAIN })
    let job!: { readonly id: string }
    await fixture.db.transaction().execute(async (trx) => {
      await sql`lock table holdfast_tasks in share mode`.execute(trx)
      job = await fixture.add()
      await until(async () => (await registering()) > 0, { what: 'it is being registered' })
      leaver.send('close')
      await leaver.message('closing')
      await sql`alter table holdfast_tasks rename to elsewhere`.execute(trx)
    })
    await leaver.message('closed')
    expect(await fixture.places()).toMatchObject({ wait: [job.id], active: [] })
    leaver.send('stop')
    await leaver.message('stopped', SOON)
    expect(leaver.messages).toContainEqual(expect.objectContaining({ type: 'unprotected' }))
    expect(fixture.ledger.entries('start')).toEqual([])
  },
)

describe('a guarded worker without a row', () => {
  it('works unprotected, and is protected as soon as it can be', async () => {
    const victim = await fixture.worker({
      way: 'guard',
      hidesTasks: true,
      monitor: { onRegisterFailure: 'run-unprotected' },
    })
    await fixture.add()
    await fixture.completed(1)
    await show()
    await until(async () => (await fixture.tasks()).length === 1, { what: 'its row is written' })
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(2)
    await fixture.worker({ way: 'guard' })
    await victim.kill()
    await until(() => runs(job.id).length === 2, { what: 'it runs again' })
    fixture.ledger.openGate('open')
    await fixture.completed(2)
    expect(await fixture.crashes()).toEqual([1])
  })

  it('lets its process stop at once, however often a row was tried for', async () => {
    const never = { onRegisterFailure: 'run-unprotected' as const }
    const leaver = await fixture.worker({ way: 'guard', hidesTasks: true, monitor: never, drain: DRAIN })
    const tries = (): number =>
      leaver.messages.filter((message) => (message as { type?: string }).type === 'unprotected').length
    await until(() => tries() > 1, { what: 'it is tried again' })
    leaver.send('stop')
    await leaver.message('stopped', SOON)
  })

  it('in its process’s next life tells why, and tries again', async () => {
    const worker = await fixture.worker({ way: 'guard', codec: true })
    const [row] = await fixture.tasks()
    fixture.ledger.openGate('unstorable')
    await sql`update holdfast_processes set state = 'dead'`.execute(fixture.db)
    await worker.message('evicted')
    await until(() => fixture.ledger.entries('error').length > 1, { what: 'it is tried again' })
    expect(fixture.ledger.entries('error')[0]).toMatchObject({ detail: 'not to be stored' })
    fixture.ledger.openGate('storable')
    await until(async () => (await fixture.tasks()).some(({ id }) => id !== row!.id), {
      what: 'it has a row',
    })
    worker.send('stop')
    await worker.message('stopped')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
  })

  it('is closed without an error', async () => {
    const leaver = await fixture.worker({ way: 'guard', hidesTasks: true, monitor })
    leaver.send('close')
    await leaver.message('closed')
    expect(fixture.ledger.entries('error')).toEqual([])
  })
})
