import {
  DummyDriver,
  type Kysely,
  Kysely as KyselyClass,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
} from 'kysely'

/** Runs a statement on graphile-worker's database and answers its rows. */
export type Run = <Row>(statement: RawBuilder<Row>) => Promise<Row[]>

// biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
export type AnyDatabase = Kysely<any>

const compiler = new KyselyClass<unknown>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

/** Through Kysely: a transaction, or a pool. */
export const inDatabase =
  (db: AnyDatabase): Run =>
  async (statement) =>
    (await statement.execute(db)).rows

type Query = (text: string, values: unknown[]) => Promise<{ rows: unknown[] }>

/** Through a connection of graphile-worker's. Unnamed, so that it passes PgBouncer. */
export const throughPg =
  (query: Query): Run =>
  async <Row>(statement: RawBuilder<Row>) => {
    const { sql, parameters } = statement.compile(compiler)
    return (await query(sql, [...parameters])).rows as Row[]
  }
