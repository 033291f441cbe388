import { once } from 'node:events'
import { appendFileSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import {
  ServiceStartError,
  ServiceUnavailableError,
  startServices,
  UnknownServiceError,
} from '@holdfast/services'
import { expect, test, vi } from 'vitest'
import { leftovers, ownTemp, useTemp } from './support/temp.js'

test('a service that cannot start stops the others', async () => {
  const tmp = ownTemp()
  useTemp(tmp)
  const failed = startServices(['postgres', 'redis', 'postgres@9'], { private: true })
  await expect(failed).rejects.toBeInstanceOf(ServiceUnavailableError)
  expect(leftovers(tmp)).toEqual([])
})

test('PgBouncer fails with the error of the Postgres that it waits for, and that is told once', async () => {
  const lines: string[] = []
  const log = (line: string) => void lines.push(line)
  const failed = startServices(['pgbouncer', 'postgres@9'], { private: true, log })
  await expect(failed).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', service: 'postgres@9' })
  expect(lines.filter((line) => line.includes('postgres@9'))).toEqual([])
})

test('a missing binary is one typed error that names the variable to set', async () => {
  vi.stubEnv('PATH', '/nonexistent')
  try {
    const failed = startServices(['redis'], { private: true })
    await expect(failed).rejects.toMatchObject({
      name: 'ServiceUnavailableError',
      code: 'SERVICE_UNAVAILABLE',
      service: 'redis',
      message: expect.stringContaining('set HOLDFAST_REDIS_URL to the URL of a server'),
    })
  } finally {
    vi.unstubAllEnvs()
  }
})

test('a server that ends at its start shows the end of its log', async () => {
  const tmp = ownTemp()
  useTemp(tmp)
  await using services = await startServices(['postgres'], { private: true })
  const postgres = services.get('postgres')
  await postgres.stop()
  const [folder] = readdirSync(tmp)
  appendFileSync(join(tmp, folder!, 'postgres', 'data', 'postgresql.conf'), 'no_such_setting = 1\n')
  const failed = postgres.start()
  await expect(failed).rejects.toBeInstanceOf(ServiceStartError)
  await expect(failed).rejects.toMatchObject({
    code: 'SERVICE_START_FAILED',
    message: expect.stringContaining('unrecognized configuration parameter "no_such_setting"'),
  })
  expect(postgres.pid).toBeUndefined()
})

test('a stopped server whose port somebody has taken starts once the port is free again', async () => {
  await using services = await startServices(['redis'], { private: true })
  const redis = services.get('redis')
  await redis.stop()
  const squatter = createServer().listen(redis.port, '127.0.0.1')
  await once(squatter, 'listening')
  await expect(redis.start()).rejects.toMatchObject({
    code: 'SERVICE_START_FAILED',
    message: expect.stringContaining('is taken'),
  })
  squatter.close()
  await once(squatter, 'close')
  await redis.start()
  expect(redis.pid).toEqual(expect.any(Number))
})

test.each(['nix', 'redis@7', 'postgres@', 'postgres@latest', 'postgres@14@2', ''])(
  "'%s' is no service",
  async (name) => {
    const failed = startServices([name])
    await expect(failed).rejects.toBeInstanceOf(UnknownServiceError)
    await expect(failed).rejects.toMatchObject({ code: 'SERVICE_UNKNOWN', service: name })
  },
)

test('asking for a service that was not started says which were', async () => {
  await using services = await startServices(['redis'], { private: true })
  expect(() => services.get('mysql')).toThrow("'mysql' was not started; redis was")
})
