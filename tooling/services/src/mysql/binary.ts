import { join } from 'node:path'
import {
  type DebianProgram,
  findUnpacked,
  type Invocation,
  unpackedInvocation,
} from '../debian/unpacked-program.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutables } from '../process/find-executable.js'
import { run } from '../process/run.js'

const MYSQL: DebianProgram = {
  title: 'MySQL',
  package: 'mysql-server-core',
  // Debian's releases ship MariaDB only; MySQL itself is in its unstable suite.
  suite: 'unstable',
  path: 'usr/sbin/mysqld',
}

export async function findMysql(context: PrepareContext): Promise<Invocation> {
  for (const command of await findExecutables('mysqld')) {
    // MariaDB calls itself mysqld, too.
    if (/MySQL/.test((await run(command, ['--no-defaults', '--version'])).output))
      return { command, firstArgs: ['--no-defaults'] }
  }
  const root = await findUnpacked(MYSQL, context)
  const usr = join(root, 'usr')
  const { command, firstArgs } = await unpackedInvocation(root, MYSQL)
  return {
    command,
    firstArgs: [
      ...firstArgs,
      '--no-defaults',
      `--basedir=${usr}`,
      `--lc-messages-dir=${join(usr, 'share', 'mysql')}`,
    ],
  }
}
