import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { prepareMariadb } from './mysql/mariadb-plan.js'
import { prepareMysql } from './mysql/mysql-plan.js'
import { preparePgbouncer } from './pgbouncer/plan.js'
import { preparePostgres } from './postgres/plan.js'
import type { Exit, SpawnOrder } from './process/protocol.js'
import type { Supervisor } from './process/supervisor-client.js'
import { prepareRedis } from './redis/plan.js'
import type { ServicePlan } from './service-plan.js'
import type { Kind, ServiceSpec } from './spec.js'
import type { StartContext } from './types.js'

export interface PrepareContext extends StartContext {
  readonly spec: ServiceSpec
  /** The service's own folder; it goes when the services stop. */
  readonly folder: string
  /** The URL of the Postgres that a pooler stands in front of, once that is up. */
  postgresUrl(): Promise<string>
  /** Runs a command to its end that goes, too, when the caller goes. */
  run(order: SpawnOrder): Promise<Exit>
}

const PREPARATIONS: Readonly<Record<Kind, (context: PrepareContext) => Promise<ServicePlan>>> = {
  postgres: preparePostgres,
  pgbouncer: preparePgbouncer,
  mariadb: prepareMariadb,
  mysql: prepareMysql,
  redis: prepareRedis,
}

/** Finds the service's binaries and makes its data. */
export async function prepare(
  spec: ServiceSpec,
  supervisor: Supervisor,
  context: StartContext,
  postgresUrl: () => Promise<string>,
): Promise<ServicePlan> {
  const folder = join(supervisor.folder, spec.name)
  await mkdir(folder)
  // Whatever the caller's umask: a server that runs as another user has to get to its data.
  await chmod(folder, 0o711)
  return PREPARATIONS[spec.kind]({
    ...context,
    spec,
    folder,
    postgresUrl,
    run: (order) => supervisor.hold(supervisor.spawn(order).then((started) => started.exited)),
  })
}
