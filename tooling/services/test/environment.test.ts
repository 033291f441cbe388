import { ServiceNotManagedError, startServices } from '@holdfast/services'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { clientOf, postgresQuery } from './support/clients.js'
import { leftovers, ownTemp, useTemp } from './support/temp.js'

afterEach(() => void vi.unstubAllEnvs())

describe('a URL in the environment', () => {
  test('wins: nothing is started, and the server is not ours to stop', async () => {
    await using theirs = await startServices(['redis'], { private: true })
    const tmp = ownTemp()
    useTemp(tmp)
    vi.stubEnv('HOLDFAST_REDIS_URL', theirs.get('redis').url)

    const services = await startServices(['redis'])
    expect(leftovers(tmp)).toEqual([])
    const redis = services.get('redis')
    expect(redis).toMatchObject({
      managed: false,
      pid: undefined,
      url: theirs.get('redis').url,
      port: theirs.get('redis').port,
    })
    for (const action of ['stop', 'start', 'kill', 'pause', 'resume'] as const) {
      await expect(redis[action]()).rejects.toBeInstanceOf(ServiceNotManagedError)
    }
    await services.stop()
    expect(await clientOf(redis.url).version()).toMatch(/^\d/)
  })

  test('is ignored for a private service', async () => {
    vi.stubEnv('HOLDFAST_REDIS_URL', 'redis://127.0.0.1:1')
    await using services = await startServices(['redis'], { private: true })
    expect(services.get('redis')).toMatchObject({ managed: true })
  })

  test('stands for its own service only', async () => {
    vi.stubEnv('HOLDFAST_MYSQL_URL', 'mysql://root@db.example/test')
    vi.stubEnv('HOLDFAST_REDIS_URL', undefined)
    await using services = await startServices(['mysql', 'redis'])
    expect(services.get('mysql')).toMatchObject({ managed: false, port: 3306 })
    expect(services.get('redis')).toMatchObject({ managed: true })
    expect(Object.keys(services.urls)).toEqual(['HOLDFAST_MYSQL_URL', 'HOLDFAST_REDIS_URL'])
  })
})

test('two versions of Postgres have a variable each', async () => {
  await using services = await startServices(['postgres@14', 'postgres@18'], { private: true })
  expect(services.urls).toEqual({
    HOLDFAST_POSTGRES_URL: services.get('postgres@14').url,
    HOLDFAST_POSTGRES_18_URL: services.get('postgres@18').url,
  })
  expect(services.get('postgres').name).toBe('postgres@14')
})

test.each([
  { durable: false, fsync: 'off', pages: 'off' },
  { durable: true, fsync: 'on', pages: 'on' },
])('Postgres with durable: $durable has fsync $fsync', async ({ durable, fsync, pages }) => {
  await using services = await startServices(['postgres'], { private: true, durable })
  const text = `select current_setting('fsync') as fsync, current_setting('full_page_writes') as pages,
    current_setting('synchronous_commit') as commits, current_setting('max_connections') as connections`
  const [settings] = await postgresQuery(services.get('postgres').url, text)
  expect(settings).toEqual({ fsync, pages, commits: 'on', connections: '300' })
})

test("the caller's own settings for a database do not reach the server", async () => {
  vi.stubEnv('PGPORT', '1')
  vi.stubEnv('PGDATA', '/nonexistent')
  await using services = await startServices(['postgres'], { private: true })
  expect(await clientOf(services.get('postgres').url).version()).toMatch(/^18/)
})
