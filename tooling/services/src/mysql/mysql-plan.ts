import type { PrepareContext } from '../prepare.js'
import type { ServicePlan } from '../service-plan.js'
import { findMysql } from './binary.js'
import { initialise, makeMysqlFolders, mysqlPlan, userArgs } from './server-plan.js'

export async function prepareMysql(context: PrepareContext): Promise<ServicePlan> {
  const { command, firstArgs } = await findMysql(context)
  const folders = await makeMysqlFolders(context.folder)
  const init = [
    '--initialize-insecure',
    ...userArgs(),
    `--datadir=${folders.data}`,
    '--innodb-flush-method=nosync',
  ]
  await initialise(context, folders, command, [...firstArgs, ...init])
  // The X protocol would take a second, fixed port.
  return mysqlPlan(context, folders, command, [...firstArgs, '--mysqlx=OFF', '--secure-file-priv=NULL'])
}
