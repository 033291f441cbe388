// Where it all happens: a Postgres and a Redis that come from the environment, or are started for us alone.
import { promisify } from 'node:util'
import { freshDatabase } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import BeeQueue from 'bee-queue'

const given = {
  postgres: process.env.DATABASE_URL ?? process.env.HOLDFAST_POSTGRES_URL,
  redis: process.env.REDIS_URL ?? process.env.HOLDFAST_REDIS_URL,
}

const DELETE = `for _, key in ipairs(redis.call('keys', ARGV[1])) do redis.call('del', key) end`

export async function startServers(log) {
  const missing = Object.keys(given).filter((name) => given[name] === undefined)
  const services = await startServices(missing, { private: true, log })
  const urlOf = (name) => given[name] ?? services.get(name).url
  const redisUrl = urlOf('redis')
  const queue = new BeeQueue('reports', { redis: { url: redisUrl }, isWorker: false, getEvents: false })
  queue.on('error', () => undefined) // Redis is to restart
  await queue.ready()
  const client = /** @type {any} */ (queue).client
  const keys = () => promisify(client.keys).call(client, `${queue.settings.keyPrefix}*`)
  if (given.redis !== undefined && (await keys()).length > 0) {
    throw new Error(
      'The Redis that is given has a queue named reports, which would be wiped. Give another one.',
    )
  }
  const database = await freshDatabase(urlOf('postgres'))

  const succeededKey = `${queue.settings.keyPrefix}succeeded`
  return {
    database,
    redisUrl,
    queue,
    /** The ids of jobs that have succeeded, as far as Redis knows. */
    succeeded: () => promisify(client.smembers).call(client, succeededKey),
    /**
     * Empties Redis and, where it is ours, kills and restarts it. Answers what it knew as succeeded at that moment. A
     * Redis that was given may be used by others: there only our queue goes, and the server goes on.
     */
    async wipe() {
      const multi = client.multi().smembers(succeededKey)
      if (given.redis === undefined) multi.flushall()
      else multi.eval(DELETE, 0, `${queue.settings.keyPrefix}*`)
      const [succeeded] = await promisify(multi.exec).call(multi)
      if (given.redis === undefined) {
        await services.get('redis').kill()
        await services.get('redis').start()
      }
      return succeeded
    },
    stop,
  }

  async function stop() {
    if (given.redis !== undefined) {
      await promisify(client.eval).call(client, DELETE, 0, `${queue.settings.keyPrefix}*`)
    }
    await queue.close()
    await database[Symbol.asyncDispose]()
    await services.stop()
  }
}
