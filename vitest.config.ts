import { defineConfig } from 'vitest/config'
import { coreOn, legs, moreLegs } from './vitest.legs.js'

const wanted = process.env.HOLDFAST_TEST_FULL ? [...legs, ...moreLegs] : legs

export default defineConfig({
  test: {
    projects: ['packages/!(core)', 'tooling/*', 'examples/*', ...wanted.map(coreOn)],
    maxWorkers: 2,
  },
})
