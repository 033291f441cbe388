import type { CompiledQuery, DatabaseConnection, Dialect, Driver } from 'kysely'

/** In the query of a URL for `connect`: the database's clock is off by what the table `clock_offset` says, in ms. */
export const STEPPED_CLOCK = 'steppedClock'

const NOW = 'utc_timestamp(3)'
const STEPPED = `date_add(${NOW}, interval (select ms from clock_offset) * 1000 microsecond)`

/** A MySQL whose clock can be stepped: its own can't be replaced, so every statement that reads it adds the offset. */
export function steppedClock(dialect: Dialect): Dialect {
  return {
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createDriver: () => stepped(dialect.createDriver()),
  }
}

function stepped(driver: Driver): Driver {
  const acquire = driver.acquireConnection.bind(driver)
  const wrapped = new WeakSet<DatabaseConnection>()
  driver.acquireConnection = async (...args) => {
    const connection = await acquire(...args)
    if (wrapped.has(connection)) return connection
    wrapped.add(connection)
    const execute = connection.executeQuery.bind(connection)
    connection.executeQuery = <R>(query: CompiledQuery, ...rest: unknown[]) =>
      execute<R>({ ...query, sql: query.sql.replaceAll(NOW, STEPPED) }, ...(rest as []))
    return connection
  }
  return driver
}
