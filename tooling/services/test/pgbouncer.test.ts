import { ServiceNotManagedError, type Services, startServices } from '@holdfast/services'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { clientOf, postgresQuery } from './support/clients.js'

afterEach(() => void vi.unstubAllEnvs())

async function connectTo(url: string, options?: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, ...(options ? { options } : {}) })
  // A stopped PgBouncer hangs up; the query that comes next is what fails.
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

async function backendOf(client: pg.Client): Promise<number> {
  return (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid
}

function databaseOf(url: string, name: string): string {
  return Object.assign(new URL(url), { pathname: `/${name}` }).href
}

describe('in front of the Postgres of the same call', () => {
  let services: Services
  let url: string
  beforeAll(async () => {
    services = await startServices(['postgres', 'pgbouncer'], { private: true })
    url = services.get('pgbouncer').url
  })
  afterAll(() => services.stop())

  test('tables and transactions reach the server', async () => {
    const client = await connectTo(url)
    await client.query('create table drawers (label text)')
    await client.query('begin')
    await client.query('insert into drawers values ($1)', ['kept'])
    await client.query('commit')
    await client.query('begin')
    await client.query('insert into drawers values ($1)', ['taken back'])
    await client.query('rollback')
    const direct = await postgresQuery(services.get('postgres').url, 'select label from drawers')
    expect(direct).toEqual([{ label: 'kept' }])
  })

  test('clients share a connection of the server, except while a transaction holds it', async () => {
    const [one, other] = [await connectTo(url), await connectTo(url)]
    const shared = await backendOf(one)
    expect(await backendOf(other)).toBe(shared)
    await other.query('begin')
    expect(await backendOf(other)).toBe(shared)
    expect(await backendOf(one)).not.toBe(shared)
    await other.query('commit')
  })

  test('what a session sets does not stay with it', async () => {
    const [one, other] = [await connectTo(url), await connectTo(url)]
    const setting = async () => (await one.query<{ work_mem: string }>('show work_mem')).rows[0]!.work_mem
    await one.query("set work_mem = '77MB'")
    expect(await setting()).toBe('77MB')
    await other.query('begin')
    expect(await setting()).toBe('4MB')
    await other.query('rollback')
    await one.query('reset work_mem')
  })

  test('a prepared statement does not stay with its session', async () => {
    const [one, other] = [await connectTo(url), await connectTo(url)]
    const statement = { name: 'kept-by-the-client', text: 'select 1 as one' }
    expect((await one.query(statement)).rows).toEqual([{ one: 1 }])
    await other.query('begin')
    await other.query('select 1')
    await expect(one.query(statement)).rejects.toMatchObject({ code: '26000' })
  })

  test('every database of the server has its own name, and can be dropped soon after its last use', async () => {
    await postgresQuery(url, 'create database attic')
    const attic = databaseOf(url, 'attic')
    expect(await postgresQuery(attic, 'select current_database() as name')).toEqual([{ name: 'attic' }])
    await expect(postgresQuery(databaseOf(url, 'cellar'), 'select 1')).rejects.toThrow('does not exist')
    await vi.waitFor(() => postgresQuery(url, 'drop database attic'), { timeout: 120_000, interval: 200 })
  })

  test('options in the start-up message are taken and ignored', async () => {
    const client = await connectTo(url, '-c work_mem=99MB')
    expect((await client.query('show work_mem')).rows).toEqual([{ work_mem: '4MB' }])
  })

  test('more clients than the server has connections', async () => {
    const clients = await Promise.all(Array.from({ length: 400 }, () => connectTo(url)))
    const backends = new Set(await Promise.all(clients.map(backendOf)))
    expect(backends.size).toBeLessThanOrEqual(20)
  })

  test('a stop ends open transactions at once, and it comes back on the same port', async () => {
    const client = await connectTo(url)
    await client.query('create table shelves (label text)')
    await client.query('begin')
    await client.query("insert into shelves values ('lost')")
    const pgbouncer = services.get('pgbouncer')
    const before = performance.now()
    await pgbouncer.stop()
    expect(performance.now() - before).toBeLessThan(30_000)
    await expect(client.query('commit')).rejects.toThrow()
    await pgbouncer.start()
    expect(await postgresQuery(url, 'select label from shelves')).toEqual([])
  })

  test('it outlives an outage of its Postgres, and starts during one', async () => {
    const postgres = services.get('postgres')
    const pgbouncer = services.get('pgbouncer')
    await postgres.stop('immediate')
    await pgbouncer.stop()
    await pgbouncer.start()
    await postgres.start()
    await vi.waitFor(() => clientOf(url).version(), { timeout: 120_000, interval: 100 })
  })
})

describe('the Postgres behind it', () => {
  test('is started, too, when none was asked for', async () => {
    await using services = await startServices(['pgbouncer'], { private: true })
    expect(services.urls).toEqual({
      HOLDFAST_PGBOUNCER_URL: services.get('pgbouncer').url,
      HOLDFAST_POSTGRES_URL: services.get('postgres').url,
    })
  })

  test('is the newest one of the call', async () => {
    await using services = await startServices(['postgres@14', 'pgbouncer', 'postgres@18'], { private: true })
    expect(await clientOf(services.get('pgbouncer').url).version()).toMatch(/^18\./)
  })

  test('is an older one when that is all there is', async () => {
    await using services = await startServices(['postgres@14', 'pgbouncer'], { private: true })
    expect(await clientOf(services.get('pgbouncer').url).version()).toMatch(/^14\./)
  })

  test('is the one that the environment names, with its user, password and database', async () => {
    await using theirs = await startServices(['postgres@14'], { private: true })
    const direct = theirs.get('postgres')
    await postgresQuery(direct.url, `create role "o'brien" login password 'p;w=''x'''`)
    await postgresQuery(direct.url, 'create database attic')
    const password = encodeURIComponent("p;w='x'")
    vi.stubEnv('HOLDFAST_PGBOUNCER_URL', '')
    vi.stubEnv('HOLDFAST_POSTGRES_URL', `postgres://o'brien:${password}@localhost:${direct.port}/attic`)

    await using services = await startServices(['pgbouncer'])
    expect(services.get('postgres')).toMatchObject({ managed: false })
    const { url, port } = services.get('pgbouncer')
    const who = 'select current_user as role, current_database() as name'
    expect(await postgresQuery(url, who)).toEqual([{ role: "o'brien", name: 'attic' }])
    expect(url).toBe(`postgres://o'brien:${password}@127.0.0.1:${port}/attic`)
  })
})

test.each(['postgres://me@no-such-host.invalid/attic', 'nonsense'])(
  'a Postgres that cannot be found, as %s, is one typed error',
  async (url) => {
    vi.stubEnv('HOLDFAST_PGBOUNCER_URL', '')
    vi.stubEnv('HOLDFAST_POSTGRES_URL', url)
    await expect(startServices(['pgbouncer'])).rejects.toMatchObject({
      code: 'SERVICE_START_FAILED',
      service: 'pgbouncer',
      message: expect.stringContaining('cannot find the Postgres'),
    })
  },
)

test('a URL of PgBouncer in the environment wins, and then no Postgres is started for it', async () => {
  vi.stubEnv('HOLDFAST_PGBOUNCER_URL', 'postgres://me@pool.example/attic')
  await using services = await startServices(['pgbouncer'])
  expect(Object.keys(services.urls)).toEqual(['HOLDFAST_PGBOUNCER_URL'])
  expect(services.get('pgbouncer')).toMatchObject({ managed: false, port: 6432 })
  await expect(services.get('pgbouncer').stop()).rejects.toBeInstanceOf(ServiceNotManagedError)
})
