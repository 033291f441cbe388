import { bullmqOn } from '../../vitest.legs.js'

const { HOLDFAST_TEST_DB: db = 'postgres', HOLDFAST_TEST_BULLMQ } = process.env

export default bullmqOn({ db, bullmq: HOLDFAST_TEST_BULLMQ === 'bullmq-5' ? '5.81.5' : '6.7.0' })
