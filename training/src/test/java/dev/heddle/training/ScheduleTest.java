package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ScheduleTest {
    @Test
    void endsAndMiddles() {
        assertEquals(2, Schedule.constant(2).at(1000));
        assertEquals(1, Schedule.cosine(1, 0.2, 100).at(0));
        assertEquals(0.6, Schedule.cosine(1, 0.2, 100).at(50), 1e-12);
        assertEquals(0.2, Schedule.cosine(1, 0.2, 100).at(100), 1e-12);
        assertEquals(0.2, Schedule.cosine(1, 0.2, 100).at(500), 1e-12);
        assertEquals(0.75, Schedule.linear(1, 0, 4).at(1), 1e-12);
        assertEquals(0.25, Schedule.polynomial(1, 0, 4, 2).at(2), 1e-12);
        assertEquals(0.25, Schedule.steps(1, 0.5, 10).at(20), 1e-12);
        assertThrows(IllegalArgumentException.class, () -> Schedule.linear(1, 0, 0));
    }

    @Test
    void warmUpRisesToWhereTheScheduleBegins() {
        Schedule schedule = Schedule.linear(1, 0, 10).warmUp(4);
        assertEquals(0.25, schedule.at(0), 1e-12);
        assertEquals(1, schedule.at(3), 1e-12);
        assertEquals(1, schedule.at(4), 1e-12);
        assertEquals(0.9, schedule.at(5), 1e-12);
    }

    @Test
    void oneCycleRisesAndFalls() {
        Schedule cycle = Schedule.oneCycle(1, 100);
        assertEquals(0.04, cycle.at(0), 1e-12);
        assertEquals(1, cycle.at(30), 1e-12);
        assertTrue(cycle.at(29) < 1 && cycle.at(31) < 1);
        assertEquals(1 / 250_000.0, cycle.at(100), 1e-12);
    }

    @Test
    void aPlateauLowersTheRate() {
        Schedule.Plateau plateau = new Schedule.Plateau(1, 0.1, 1);
        assertEquals(1, plateau.next(5));
        assertEquals(1, plateau.next(4));
        assertEquals(1, plateau.next(4));
        assertEquals(0.1, plateau.next(4.5), 1e-12);
        assertEquals(0.1, plateau.next(3), 1e-12);
    }
}
