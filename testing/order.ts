import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { inParts, longestFirst, type Timed } from './parts.js'
import { root } from './root.js'

/** Seconds by project and file, as last measured (`npm test -- --measure`). */
const times: Record<string, Record<string, number>> = JSON.parse(
  readFileSync(new URL('./times.json', import.meta.url), 'utf8'),
)

interface TimedSpec extends Timed {
  readonly spec: TestSpecification
}

function timed(spec: TestSpecification): TimedSpec {
  const { name: project } = spec.project
  const file = relative(root, spec.moduleId)
  return { spec, project, file, seconds: times[project]?.[file] }
}

const specs = (all: readonly TimedSpec[]): TestSpecification[] => all.map(({ spec }) => spec)

/** Vitest runs the longest files first, and `--shard` makes parts that take equally long. */
export class TestOrder extends BaseSequencer {
  override async sort(all: TestSpecification[]): Promise<TestSpecification[]> {
    return specs(longestFirst(all.map(timed)))
  }

  override async shard(all: TestSpecification[]): Promise<TestSpecification[]> {
    const { index, count } = this.ctx.config.shard!
    return specs(inParts(all.map(timed), count)[index - 1]!)
  }
}
