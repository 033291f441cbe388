import { installOnDebian } from '../debian/install.js'
import { ServiceUnavailableError } from '../errors.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutable } from '../process/find-executable.js'
import type { ServicePlan } from '../service-plan.js'
import { initialise, makeMysqlFolders, mysqlPlan, userArgs } from './server-plan.js'

/** The server and what its installation script calls; unlike mariadb-server they start no service. */
const PACKAGES = ['mariadb-server-core', 'mariadb-client-core']
const SMALL_LOG = '--innodb-log-file-size=16M'

export async function prepareMariadb(context: PrepareContext): Promise<ServicePlan> {
  const { server, installDb } = await findMariadb(context)
  const folders = await makeMysqlFolders(context.folder)
  await initialise(context, folders, installDb, [
    '--no-defaults',
    ...userArgs(),
    `--datadir=${folders.data}`,
    `--tmpdir=${folders.tmp}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--skip-name-resolve',
    '--innodb-flush-method=nosync',
    SMALL_LOG,
  ])
  return mysqlPlan(context, folders, server, ['--no-defaults', SMALL_LOG])
}

async function findMariadb({ spec, log }: PrepareContext): Promise<{ server: string; installDb: string }> {
  const found = await findPair()
  if (found) return found
  const problem = await installOnDebian('MariaDB', PACKAGES, log)
  const installed = problem ? undefined : await findPair()
  if (installed) return installed
  const reason = problem ?? `and ${PACKAGES.join(' ')} did not bring it`
  throw new ServiceUnavailableError(
    spec.name,
    spec.env,
    `MariaDB is not installed, ${reason}. Install ${PACKAGES.join(' ')}`,
  )
}

async function findPair(): Promise<{ server: string; installDb: string } | undefined> {
  const server = await findExecutable('mariadbd')
  const installDb = await findExecutable('mariadb-install-db')
  return server && installDb ? { server, installDb } : undefined
}
