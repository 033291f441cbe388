import { FreezingProxy, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GuardedPool } from '../src/guarded-pool.js'
import { Fixture } from './support/fixture.js'

describe('a job that was given back before its pool heard of it', () => {
  it('is not begun when the answer to its fetch comes after all; its next fetch is', async () => {
    const guarded = new GuardedPool({ id: 'pool' } as never, false)
    const job = { id: '1', lockId: 'pool', attempts: 1, lockedAt: 1_000, renewals: 0 }
    expect(guarded.disown(job)).toBe(true)
    expect(guarded.wasDisowned(job)).toBe(true)
    expect(guarded.wasDisowned({ ...job, lockedAt: 1_001 })).toBe(false)
  })

  it('is left alone where the pool has heard of it', async () => {
    const guarded = new GuardedPool({ id: 'pool' } as never, false)
    const job = { id: '1', lockId: 'pool', attempts: 1, lockedAt: 1_000, renewals: 1 }
    await guarded.running({ job } as never, async () => {
      expect(guarded.disown({ ...job, lockedAt: 1_000 })).toBe(false)
      expect(guarded.disown({ ...job, lockedAt: 61_000 })).toBe(false)
    })
    guarded.ended.note(job)
    expect(guarded.disown({ ...job, lockedAt: 1_000 })).toBe(false)
    // Given back, and fetched again under the same number of attempts.
    expect(guarded.disown({ ...job, lockedAt: 1_001 })).toBe(true)
  })
})

const endless = { orphanThreshold: 3_600_000 }

describe('a job that is locked by a pool that was never told of it', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is given back by that pool itself, while it lives, with its attempt', async () => {
    const { proxy, url } = await FreezingProxy.to(fixture.database.url)
    await using _ = proxy
    const worker = await fixture.worker({ url, monitor: endless, pollInterval: 500 })
    // The statement that fetches takes so long that its connection can break meanwhile.
    await sql`create function slowly() returns trigger language plpgsql as
      'begin perform pg_sleep(1.5); return new; end'`.execute(fixture.db)
    await sql`create trigger slow_fetch before update on graphile_worker._private_jobs for each row
      when (old.locked_by is null and new.locked_by is not null) execute function slowly()`.execute(
      fixture.db,
    )
    const running = await fixture.add('guarded', { gate: 'open' })
    await fixture.started(1)
    const lost = await fixture.add('guarded')
    await until(async () => {
      const { rows } = await sql`select 1 from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'`.execute(fixture.db)
      return rows.length > 0
    })
    proxy.freeze()
    await until(async () => (await fixture.jobs()).every(({ lockedBy }) => lockedBy !== null))
    proxy.breakFrozen()
    await fixture.finished(1)
    await fixture.openGate('open')
    await until(async () => (await fixture.jobs()).length === 0)
    const starts = (await fixture.ledger('start')).map(({ job, attempts, pid }) => [job, attempts, pid])
    expect(starts).toEqual([
      [running, 1, worker.pid],
      [lost, 1, worker.pid],
    ])
    expect(await fixture.crashes()).toEqual([])
  })

  it('is given back by whoever recovered that pool, when it is dead, with its attempt', async () => {
    const victim = await fixture.worker()
    await fixture.add('guarded', { gate: 'never' })
    await fixture.started(1)
    const lockId = (await fixture.jobs())[0]!.lockedBy
    await sql`delete from graphile_worker._private_jobs`.execute(fixture.db)
    const survivor = await fixture.worker({ pollInterval: 500 })
    await victim.kill()
    await until(async () =>
      (await fixture.tasks()).every(({ processId }) => !processId.includes(`:${victim.pid}:`)),
    )
    // As a zombie leaves it that fetches on waking, and is killed before it learns of its death.
    const [stray, registered] = await fixture.db.transaction().execute(async (trx) => {
      const { rows } = await sql<{ id: string }>`
        with added as (
          select id from generate_series(1, 2) as n, lateral graphile_worker.add_job('guarded', json_build_object('n', n)))
        select id::text as id from added order by id`.execute(trx)
      await sql`update graphile_worker._private_jobs
        set locked_by = ${lockId}, locked_at = now(), attempts = 1`.execute(trx)
      await sql`insert into holdfast_tasks (process_id, nonce, id, queue, job_ref, payload, created_at, attempts)
        select process_id, nonce + 1000, 'its own', queue, ${rows[1]!.id}, payload, created_at, attempts from holdfast_tasks limit 1`.execute(
        trx,
      )
      return rows.map(({ id }) => id)
    })
    await fixture.finished(1)
    expect((await fixture.ledger('finish')).map(({ job, attempts, pid }) => [job, attempts, pid])).toEqual([
      [stray, 1, survivor.pid],
    ])
    await until(() => survivor.output.includes(`gave back jobs that dead pools had locked: ${stray}`))
    // That of a row is left to the row.
    await until(async () => (await fixture.jobs()).length === 1)
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ id: registered, lockedBy: lockId })])
  })
})
