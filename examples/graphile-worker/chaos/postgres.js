import { freshDatabase } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'

/** A database of its own where DATABASE_URL says, or on a Postgres that is started for us alone and can be stopped. */
export async function startPostgres(log) {
  const given = process.env.DATABASE_URL
  const names = given === undefined ? ['postgres'] : []
  const services = await startServices(names, { private: true, durable: true, log })
  const server = given === undefined ? services.get('postgres') : undefined
  const database = await freshDatabase(given ?? server.url)
  return {
    ...database,
    /** Undefined when it is not ours to stop. */
    server,
    async stop() {
      if (server === undefined) await database[Symbol.asyncDispose]()
      else await database.db.destroy()
      await services.stop()
    },
  }
}
