import type { AnyDatabase } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import { makeWorkerUtils } from 'graphile-worker'
import { createTables } from './tables.js'
import { createViews } from './views.js'

/** Makes an empty database ready for the demo. Without Holdfast it gets none of Holdfast's tables. */
export async function prepare(
  { url, db }: { url: string; db: AnyDatabase },
  holdfast: boolean,
): Promise<void> {
  const graphile = await makeWorkerUtils({ connectionString: url })
  await graphile.migrate()
  await graphile.release()
  if (holdfast) await migrate(db)
  await createTables(db)
  await createViews(db, holdfast)
}
