import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ServiceStartError } from '../errors.js'
import { logTail } from '../log-tail.js'
import type { PrepareContext } from '../prepare.js'
import { serverEnv } from '../process/server-env.js'
import type { ServicePlan } from '../service-plan.js'
import { mysqlAnswers } from './answers.js'

/** Runs at every start, before the first connection is taken. */
const INIT_SQL = `create database if not exists test;
create user if not exists 'root'@'127.0.0.1';
grant all privileges on *.* to 'root'@'127.0.0.1' with grant option;
`

export interface MysqlFolders {
  readonly data: string
  readonly tmp: string
  readonly logFile: string
}

export async function makeMysqlFolders(folder: string): Promise<MysqlFolders> {
  const folders = { data: join(folder, 'data'), tmp: join(folder, 'tmp'), logFile: join(folder, 'log') }
  await mkdir(folders.data, { mode: 0o700 })
  await mkdir(folders.tmp)
  await writeFile(join(folder, 'init.sql'), INIT_SQL)
  return folders
}

/** Only root has to name a user, and may be named. */
export function userArgs(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : []
}

export async function initialise(
  context: PrepareContext,
  { data, logFile }: MysqlFolders,
  command: string,
  args: readonly string[],
): Promise<void> {
  const exit = await context.run({
    command,
    args,
    cwd: data,
    env: serverEnv(),
    logFile,
    endSignal: 'SIGKILL',
  })
  if (exit.code !== 0)
    throw new ServiceStartError(
      context.spec.name,
      `${context.spec.name}: its data could not be made:\n${await logTail(logFile)}`,
    )
}

/** What MySQL and MariaDB have in common. */
export function mysqlPlan(
  context: PrepareContext,
  folders: MysqlFolders,
  command: string,
  firstArgs: readonly string[],
): ServicePlan {
  const { folder, durable } = context
  const settings = [
    ...userArgs(),
    `--datadir=${folders.data}`,
    `--tmpdir=${folders.tmp}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--init-file=${join(folder, 'init.sql')}`,
    '--bind-address=127.0.0.1',
    '--skip-name-resolve',
    '--skip-log-bin',
    '--max-connections=300',
    '--innodb-buffer-pool-size=64M',
    '--character-set-server=utf8mb4',
    // 2: written at each commit, synced later. A killed server loses nothing, only a dead machine does.
    `--innodb-flush-log-at-trx-commit=${durable ? 1 : 2}`,
    ...(durable ? [] : ['--innodb-flush-method=nosync']),
  ]
  return {
    command,
    args: (port) => [...firstArgs, ...settings, `--port=${port}`],
    cwd: folders.data,
    env: serverEnv(),
    logFile: folders.logFile,
    fastSignal: 'SIGTERM',
    immediateSignal: 'SIGKILL',
    answers: mysqlAnswers,
    url: (port) => `mysql://root@127.0.0.1:${port}/test`,
  }
}
