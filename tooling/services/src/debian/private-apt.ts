import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Outcome, run } from '../process/run.js'
import type { Mirror } from './mirror.js'

/** Only what a package needs to run, and none of the alternatives or the virtual packages among it. */
const DEPENDS = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
  (kind) => `--no-${kind}`,
)
/** What only the packages' installation scripts use. */
const NOT_NEEDED = /^(perl|debconf)/

/** apt with lists, cache and sources of its own in one folder: it needs no root and leaves the system alone. */
export class PrivateApt {
  readonly #folder: string
  readonly #options: readonly string[]

  private constructor(folder: string) {
    this.#folder = folder
    const settings = {
      'Dir::Etc::SourceList': join(folder, 'sources.list'),
      'Dir::Etc::SourceParts': '/dev/null',
      'Dir::State::Lists': join(folder, 'lists'),
      'Dir::Cache': join(folder, 'cache'),
      // As root, apt would download as a user who cannot write to this folder.
      'APT::Sandbox::User': '',
    }
    this.#options = ['-q', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])]
  }

  static async create(folder: string, mirror: Mirror, suite: string): Promise<PrivateApt> {
    await Promise.all(
      ['lists/partial', 'cache/archives/partial', 'debs'].map((name) =>
        mkdir(join(folder, name), { recursive: true }),
      ),
    )
    await writeFile(
      join(folder, 'sources.list'),
      `deb [signed-by=${mirror.keyring}] ${mirror.uri} ${suite} main\n`,
    )
    const apt = new PrivateApt(folder)
    expectOk(await run('apt-get', [...apt.#options, 'update']), 'update')
    return apt
  }

  /** The package and everything that it depends on, as files; the folder that they are in. */
  async download(name: string): Promise<string> {
    const depends = ['depends', '--recurse', ...DEPENDS, name]
    const { output } = expectOk(await run('apt-cache', [...this.#options, ...depends]), depends.join(' '))
    const names = output.split('\n').filter((line) => /^[a-z0-9]/.test(line) && !NOT_NEEDED.test(line))
    const folder = join(this.#folder, 'debs')
    expectOk(
      await run('apt-get', [...this.#options, 'download', ...new Set(names)], { cwd: folder }),
      `download ${name}`,
    )
    return folder
  }
}

function expectOk(outcome: Outcome, what: string): Outcome {
  if (outcome.ok) return outcome
  throw new Error(`apt ${what} failed:\n${outcome.output}`)
}
