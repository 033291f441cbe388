import { setTimeout as delay } from 'node:timers/promises'
import { startServices } from '@holdfast/services'
import { describe, expect, onTestFinished, test } from 'vitest'
import { clientOf } from './support/clients.js'
import { leftovers, ownTemp, useTemp } from './support/temp.js'

const SERVICES = [
  { name: 'postgres', version: /^18\./, env: 'HOLDFAST_POSTGRES_URL' },
  { name: 'postgres@14', version: /^14\./, env: 'HOLDFAST_POSTGRES_URL' },
  // The version is that of the Postgres behind it.
  { name: 'pgbouncer', version: /^18\./, env: 'HOLDFAST_PGBOUNCER_URL' },
  { name: 'mariadb', version: /MariaDB/, env: 'HOLDFAST_MARIADB_URL' },
  { name: 'mysql', version: /^\d+\.\d+\.\d+(?!.*MariaDB)/, env: 'HOLDFAST_MYSQL_URL' },
  { name: 'redis', version: /^\d+\.\d+/, env: 'HOLDFAST_REDIS_URL' },
] as const

describe.each(SERVICES)('$name', ({ name, version, env }) => {
  async function startOne() {
    const services = await startServices([name], { private: true })
    onTestFinished(() => services.stop())
    const service = services.get(name)
    return { services, service, client: clientOf(service.url) }
  }

  test('speaks to its real client, and is of the version that was asked for', async () => {
    const { services, service, client } = await startOne()
    expect(await client.version()).toMatch(version)
    expect(service).toMatchObject({ name, env, managed: true, pid: expect.any(Number) })
    expect(services.urls).toMatchObject({ [env]: service.url })
    expect(Number(new URL(service.url).port)).toBe(service.port)
  })

  test('comes back on the same port with all that was committed, however it was stopped', async () => {
    const { service, client } = await startOne()
    const { url } = service
    const outages = {
      fast: () => service.stop(),
      immediate: () => service.stop('immediate'),
      killed: () => service.kill(),
    }
    for (const [outage, end] of Object.entries(outages)) {
      await client.write(outage)
      await end()
      expect(service.pid).toBeUndefined()
      await expect(client.read()).rejects.toThrow('ECONNREFUSED')
      await service.start()
      expect(service.url).toBe(url)
      expect(await client.read()).toBe(outage)
    }
  })

  test('keeps its connections open and answers nothing while it is paused', async () => {
    const { service, client } = await startOne()
    await client.write('before')
    await service.pause()
    let answered = false
    const answer = client.read().finally(() => {
      answered = true
    })
    // That nothing happens can only be seen by waiting.
    await delay(300)
    expect(answered).toBe(false)
    await service.resume()
    expect(await answer).toBe('before')
  })

  test('can be stopped while it is paused', async () => {
    const { service } = await startOne()
    await service.pause()
    await service.stop()
    expect(service.pid).toBeUndefined()
  })

  test('leaves no process and no file behind', async () => {
    const tmp = ownTemp()
    useTemp(tmp)
    {
      await using services = await startServices([name], { private: true })
      expect(services.get(name).managed).toBe(true)
      expect(leftovers(tmp)).not.toEqual([])
    }
    expect(leftovers(tmp)).toEqual([])
  })
})
