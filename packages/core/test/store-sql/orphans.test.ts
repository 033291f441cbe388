import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  claimOrphans,
  deleteOrphans,
  holdOrphan,
  lockClaimed,
  lockOrphans,
  markCounted,
  orphanOwners,
  postponeOrphan,
  setJobRef,
} from '../../src/store/orphans.js'
import { inTransaction, type Store } from '../../src/store/store.js'
import { deleteTasks } from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask, nonceOf, taskIds } from '../support/rows.js'
import { dialect, HOUR } from '../support/sql.js'

const ours = { by: 'sweeper', token: 'token' }

describe('orphans in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(async () => {
    await on.clear()
    await addProcess(on.db, 'dead', { state: 'dead', leaseMs: -HOUR })
    for (const id of ['a', 'b', 'c']) await addTask(on.db, 'dead', id, { jobRef: `job ${id}` })
  })
  afterAll(() => on[Symbol.asyncDispose]())

  const rowOf = async (id: string) => {
    const { rows } = await sql<Record<string, unknown>>`
      select attempts, last_error, crashes, claimed_by, claim_token,
        -${dialect.msSince(sql.ref('retry_at'))} as wait, -${dialect.msSince(sql.ref('claim_expires_at'))} as claimed
      from holdfast_tasks where process_id = 'dead' and id = ${id}`.execute(on.db)
    return rows[0]!
  }
  const lock = (store: Store, limit = 10, after = 0) =>
    inTransaction(store, (inner) => lockOrphans(inner, { owner: 'dead', queue: 'table', after, limit }))

  it('orphanOwners finds who owns rows and does not live, by one probe an owner', async () => {
    await addProcess(on.db, 'living')
    await addProcess(on.db, 'released', { state: 'released' })
    for (const owner of ['living', 'missing', 'released', 'Dead']) await addTask(on.db, owner, 'a')
    const owners = await on.golden('orphan-owners', orphanOwners)
    expect(owners.map(({ processId, state }) => [processId, state])).toEqual([
      ['Dead', null],
      ['dead', 'dead'],
      ['missing', null],
      ['released', 'released'],
    ])
    expect(owners[0]!.orphanedForMs).toBeNull()
    expect(owners[1]!.orphanedForMs).toBeGreaterThanOrEqual(HOUR)
  })

  it('orphanOwners goes on where a statement’s recursion ends', async () => {
    await sql`delete from holdfast_tasks`.execute(on.db)
    const owners = Array.from({ length: 1_001 }, (_, n) => `gone:${String(n).padStart(5, '0')}`)
    const { now } = dialect
    const rows = owners.map((owner) => sql`(${owner}, 1, 'a', 'table', '{}', ${now}, 0)`)
    await sql`insert into holdfast_tasks (process_id, nonce, id, queue, payload, created_at, attempts)
      values ${sql.join(rows)}`.execute(on.db)
    expect((await orphanOwners(on.store)).map(({ processId }) => processId)).toEqual(owners)
  })

  it('lockOrphans answers the next rows in order, and passes over what another has locked', async () => {
    const first = await on.golden('lock-orphans', (store) => lock(store, 2))
    const rest = { queue: 'table', ended: false, onCrash: null, attempts: 0, lastError: null, crashes: null }
    expect(first).toEqual([
      { nonce: nonceOf('a'), id: 'a', jobRef: 'job a', payload: '"a"', ...rest },
      { nonce: nonceOf('b'), id: 'b', jobRef: 'job b', payload: '"b"', ...rest },
    ])
    expect((await lock(on.store, 2, nonceOf('b'))).map(({ id }) => id)).toEqual(['c'])
    await on.db.transaction().execute(async (trx) => {
      await sql`select id from holdfast_tasks where process_id = 'dead' and nonce = ${nonceOf('a')} for update`.execute(
        trx,
      )
      expect((await lock(on.store)).map(({ id }) => id)).toEqual(['b', 'c'])
    })
  })

  it('lockOrphans takes up claims that have run out or whose process has died, no others', async () => {
    await addProcess(on.db, 'alive')
    await addTask(on.db, 'dead', 'held', { claim: { by: 'alive', token: 't', ms: HOUR } })
    await addTask(on.db, 'dead', 'run out', { claim: { by: 'alive', token: 't', ms: -1_000 } })
    await addTask(on.db, 'dead', 'of the dead', { claim: { by: 'dead', token: 't', ms: HOUR } })
    await addTask(on.db, 'dead', 'waits', { retryMs: HOUR })
    await addTask(on.db, 'dead', 'has waited', { retryMs: -1_000 })
    await addTask(on.db, 'dead', 'elsewhere', { queue: 'other' })
    const found = (await lock(on.store)).map(({ id }) => id)
    expect(found).toEqual(['a', 'b', 'c', 'has waited', 'of the dead', 'run out'])
  })

  it('claimOrphans marks rows, lockClaimed finds those still under the claim, deleteOrphans ends them', async () => {
    const owner = 'dead'
    const nonces = ['a', 'b'].map(nonceOf)
    await on.golden('claim-orphans', (store) =>
      inTransaction(store, (inner) => claimOrphans(inner, { owner, nonces, claim: ours, ttl: HOUR })),
    )
    const { claimed, ...row } = await rowOf('a')
    expect(row).toMatchObject({ claimed_by: 'sweeper', claim_token: 'token' })
    expect(Number(claimed)).toBeGreaterThan(HOUR - 60_000)
    expect(await rowOf('c')).toMatchObject({ claimed_by: null, claim_token: null })
    await sql`update holdfast_tasks set claim_token = 'TOKEN' where id = 'b'`.execute(on.db)
    const still = await on.golden('lock-claimed', (store) =>
      inTransaction(store, (inner) =>
        lockClaimed(inner, { owner, nonces: [...nonces, nonceOf('z')], claim: ours }),
      ),
    )
    expect(still).toEqual({ ours: new Set([nonceOf('a')]), gone: new Set([nonceOf('z')]) })
    await on.golden('mark-counted', (store) =>
      inTransaction(store, (inner) => markCounted(inner, { owner, nonces, claim: ours, crashes: 2 })),
    )
    expect([(await rowOf('a')).crashes, (await rowOf('b')).crashes]).toEqual([2, null])
    await on.golden('delete-orphans', (store) => deleteOrphans(store, owner, ['a', 'c'].map(nonceOf)))
    expect(await taskIds(on.db)).toEqual(['dead/b'])
  })

  it('setJobRef gives one row another identity, which no other row of its queue may have', async () => {
    const set = (id: string, jobRef: string) => (store: Store) =>
      inTransaction(store, (inner) => setJobRef(inner, { owner: 'dead', nonce: nonceOf(id), jobRef }))
    await on.golden('set-job-ref', set('a', 'job z'))
    const { rows } = await sql`select id, job_ref from holdfast_tasks order by id`.execute(on.db)
    expect(rows).toEqual([
      { id: 'a', job_ref: 'job z' },
      { id: 'b', job_ref: 'job b' },
      { id: 'c', job_ref: 'job c' },
    ])
    const taken = await set('b', 'job z')(on.store).catch((error) => error)
    expect(on.store.dialect.errorKind(taken)).toBe('duplicate')
  })

  it('nothing is asked for no rows', async () => {
    const asked = on.golden('orphans-none', (store) =>
      inTransaction(store, async (inner) => {
        await claimOrphans(inner, { owner: 'dead', nonces: [], claim: ours, ttl: HOUR })
        await lockClaimed(inner, { owner: 'dead', nonces: [], claim: ours })
        await deleteOrphans(inner, 'dead', [])
      }),
    )
    await asked
    expect(await taskIds(on.db)).toHaveLength(3)
  })

  it('postponeOrphan and holdOrphan keep a row for later and end its claim', async () => {
    const claim = { by: 'sweeper', token: 't', ms: HOUR }
    await addTask(on.db, 'dead', 'failing', { claim })
    await addTask(on.db, 'dead', 'held', { claim })
    const owner = 'dead'
    await on.golden('postpone-orphan', (store) =>
      inTransaction(store, (inner) =>
        postponeOrphan(inner, { owner, nonce: nonceOf('failing'), error: 'no', retryIn: HOUR }),
      ),
    )
    await on.golden('hold-orphan', (store) =>
      inTransaction(store, (inner) =>
        holdOrphan(inner, { owner, nonce: nonceOf('held'), crashes: 2, ms: HOUR }),
      ),
    )
    const unclaimed = { claimed_by: null, claimed: null }
    const failing = await rowOf('failing')
    expect(failing).toMatchObject({
      attempts: 1,
      last_error: 'no',
      crashes: null,
      claim_token: 't',
      ...unclaimed,
    })
    expect(Number(failing.wait)).toBeGreaterThan(HOUR - 60_000)
    const held = await rowOf('held')
    expect(held).toMatchObject({ attempts: 0, last_error: null, crashes: 2, claim_token: null, ...unclaimed })
    expect(Number(held.wait)).toBeGreaterThan(HOUR - 60_000)
    expect((await lock(on.store)).map(({ id }) => id)).toEqual(['a', 'b', 'c'])
  })

  it('a claimed orphan whose recovery failed is free for the next, but not for its former holder', async () => {
    await addProcess(on.db, 'sweeper')
    await addTask(on.db, 'dead', 'failing', { claim: { by: 'sweeper', token: 't', ms: HOUR } })
    await inTransaction(on.store, (inner) =>
      postponeOrphan(inner, { owner: 'dead', nonce: nonceOf('failing'), error: 'no', retryIn: -1_000 }),
    )
    expect(await deleteTasks(on.store, 'dead', [nonceOf('failing')])).toEqual(new Set())
    expect((await lock(on.store, 10, nonceOf('c'))).map(({ id }) => id)).toEqual(['failing'])
  })
})
