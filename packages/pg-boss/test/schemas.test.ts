import { until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pgBossAdapter } from '../src/index.js'
import { makeBoss, type TestBoss } from './support/boss.js'
import { Fixture } from './support/fixture.js'

const silent = { warn: () => undefined, error: () => undefined }

/** The same in both schemas. */
const ID = '11111111-2222-4333-8444-555555555555'

describe('two schemas of pg-boss’s in one database, under the default name', () => {
  let fixture: Fixture
  let other: TestBoss
  beforeEach(async () => {
    fixture = await Fixture.create({ schema: 'tenant_a' })
    other = makeBoss({ connectionString: fixture.database.url, schema: 'Tenant_B' })
    other.on('error', () => undefined) // Told when the database is dropped under it.
    await other.start()
    await other.createQueue('q', { name: 'q' })
    for (const boss of [fixture.boss, other]) await boss.send('q', { gate: 'open' }, { id: ID })
  })
  afterEach(async () => {
    await other.stop({ graceful: false })
    await fixture[Symbol.asyncDispose]()
  })

  const jobIn = async (schema: string): Promise<{ state: string; retry_count: number } | undefined> => {
    const { rows } = await sql<{ state: string; retry_count: number }>`
      select state::text as state, retry_count from ${sql.id(schema, 'job')} where id = ${ID}::uuid`.execute(
      fixture.db,
    )
    return rows[0]
  }
  const rowOf = async (schema: string): Promise<unknown> => {
    const { rows } =
      await sql`select id, process_id from holdfast_tasks where queue = ${`pg-boss@${schema}`}`.execute(
        fixture.db,
      )
    return rows[0]
  }
  const starts = async (): Promise<string[]> =>
    (await fixture.ledger('start')).map(({ detail, pid }) => `${detail?.toLowerCase()} ${pid}`)
  const haveLocks = (): Promise<unknown> =>
    until(async () => {
      const { rows } = await sql<{ name: string }>`select name from holdfast_locks order by name`.execute(
        fixture.db,
      )
      return rows.map(({ name }) => name).join() === 'gc:pg-boss@tenant_a,gc:pg-boss@tenant_b'
    })
  const endAlike = async (counts: readonly number[]): Promise<void> => {
    await fixture.openGate('open')
    await until(async () => (await jobIn('tenant_a'))?.state === 'completed')
    await until(async () => (await jobIn('tenant_b'))?.state === 'completed')
    await fixture.settled()
    expect([(await jobIn('tenant_a'))!.retry_count, (await jobIn('tenant_b'))!.retry_count]).toEqual(counts)
    expect(await fixture.ledger('finish')).toHaveLength(2)
  }

  it.each(['track', 'handOff'] as const)('in two fleets keep their jobs apart (%s)', async (way) => {
    const of = (schema: string) => fixture.worker({ way, schema })
    const [a, b] = [await of('tenant_a'), await of('Tenant_B')]
    await fixture.started(2)
    expect((await fixture.tasks()).map(({ job_ref }) => job_ref)).toEqual([`q/${ID}`, `q/${ID}`])
    const kept = await rowOf('tenant_b')
    await a.kill()
    // b finds it dead, and can't recover what is not its own.
    await until(async () => {
      const { rows } = await sql`select from holdfast_processes where state = 'dead'`.execute(fixture.db)
      return rows.length === 1
    })
    const again = await of('tenant_a')
    await fixture.started(3)
    expect((await starts()).slice(2)).toEqual([`tenant_a ${again.pid}`])
    expect((await starts()).slice(0, 2).sort()).toEqual([`tenant_a ${a.pid}`, `tenant_b ${b.pid}`])
    expect(await rowOf('tenant_b')).toEqual(kept)
    await haveLocks()
    await endAlike([1, 0])
  })

  it.each(['track', 'handOff'] as const)('in one monitor keep their jobs apart (%s)', async (way) => {
    const options = { way, schema: 'tenant_a', others: ['Tenant_B'] }
    const victim = await fixture.worker(options)
    await fixture.started(2)
    expect([await rowOf('tenant_a'), await rowOf('tenant_b')].every(Boolean)).toBe(true)
    const survivor = await fixture.worker(options)
    await victim.kill()
    await fixture.started(4)
    expect((await starts()).slice(2).sort()).toEqual([`tenant_a ${survivor.pid}`, `tenant_b ${survivor.pid}`])
    await haveLocks()
    await endAlike([1, 1])
  })

  it('have queues whose names differ as the schemas do, whatever name is given', () => {
    const { boss, db } = fixture
    const name = (options: object): string => pgBossAdapter({ boss, db, ...options }).name
    for (const schema of ['pgboss', 'PgBoss', '"pgboss"']) expect(name({ schema })).toBe('pg-boss')
    expect([name({}), name({ name: 'mine' })]).toEqual(['pg-boss', 'mine'])
    expect(name({ schema: 'Tenant' })).toBe('pg-boss@tenant')
    expect(name({ schema: 'tenant', name: 'mine' })).toBe('mine@tenant')
    expect(name({ schema: '"Tenant"' })).toBe('pg-boss@Tenant')
    expect(name({ schema: '"PgBoss"' })).toBe('pg-boss@PgBoss')
  })
})

describe('a pg-boss on another schema than its adapter', () => {
  it.each(['track', 'handOff'] as const)('has no job taken for done (%s)', async (way) => {
    await using fixture = await Fixture.create()
    const other = makeBoss({ connectionString: fixture.database.url, schema: 'tenant_b' })
    const errors: string[] = []
    other.on('error', (error) => errors.push(String(error)))
    await other.start()
    await other.createQueue('q', { name: 'q' })
    const adapter = pgBossAdapter({ boss: other, db: fixture.db })
    const monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter], logger: silent })
    await monitor.start()
    let runs = 0
    const handler = async () => void runs++
    const work = way === 'track' ? adapter.track(handler) : adapter.handOff(handler, { concurrency: 1 })
    await other.work('q', { pollingIntervalSeconds: 0.5 }, work as never)
    await other.send('q', { n: 1 }, { id: ID, retryLimit: 0 })
    const job = () =>
      sql<{ state: string; output: unknown }>`
        select state::text as state, output from tenant_b.job where id = ${ID}::uuid`.execute(fixture.db)
    await until(async () => !['created', 'active'].includes((await job()).rows[0]!.state))
    const [found] = (await job()).rows
    expect(found).toMatchObject({ state: 'failed' })
    expect(JSON.stringify(found!.output)).toContain('pg-boss has another schema than the adapter')
    expect(runs).toBe(0)
    await monitor.stop({ drain: 0 })
    await other.stop({ graceful: false })
  })
})
