import { show } from '../check-options.js'
import { SchemaVersionError } from '../errors.js'
import type { Store } from '../store/store.js'
import { missingSteps } from './applied.js'
import { checkGrants, forbiddenError } from './check-grants.js'
import type { Migration } from './migration.js'

/**
 * Says whether this version of the library can run on the schema, with the rights of this connection.
 *
 * @throws SchemaVersionError naming what to do, DatabaseError naming the rights that are missing
 */
export async function checkSchema(store: Store): Promise<void> {
  const call = `\`await migrate(${callArguments(store)})\` from '@holdfast/core'`
  let missing: readonly Migration[]
  try {
    missing = await missingSteps(store)
  } catch (cause) {
    const kind = store.dialect.errorKind(cause)
    if (kind === 'forbidden')
      throw await forbiddenError(store, [{ right: 'select', table: 'migrations', cause }])
    if (kind !== 'missing-table') throw cause
    throw new SchemaVersionError(`Holdfast's tables don't exist here. Run ${call} once.`, { cause })
  }
  if (missing.length > 0) {
    throw new SchemaVersionError(
      `Holdfast's tables are older than this version of the library: ${missing.map(({ id }) => id).join(', ')} ` +
        `not applied. Run ${call}.`,
    )
  }
  await checkGrants(store)
}

/** What `migrate()` takes for these tables. */
function callArguments({ place }: Store): string {
  const options = Object.entries(place).map(([name, value]) => `${name}: ${show(value)}`)
  return options.length === 0 ? 'db' : `db, { ${options.join(', ')} }`
}
