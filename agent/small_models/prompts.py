"""The few-shot prompts of the compact forms; whoever changes an example changes what small models choose."""


class FewShotPrompt:
    """A prompt written as lines: the instruction, the two labels, then examples as `question -> answer`."""

    def __init__(self, lines: str) -> None:
        self.instruction, labels, *self.examples = lines.splitlines()
        self.question_label, self.answer_label = labels.split(" -> ")

    def text(self, question: str) -> str:
        """Return the prompt for a question; it ends where the model writes its answer."""
        pairs = [example.rsplit(" -> ", 1) for example in self.examples] + [[question, ""]]
        shown = [f"{self.question_label}: {asked}\n{self.answer_label}: {answer}".rstrip() for asked, answer in pairs]
        return "\n\n".join([self.instruction, *shown])


KIND = FewShotPrompt("""\
Say what the message is: a task, or just talk.
Message -> It is
Good morning! -> talk
How many nurses work in the Leeds ward? -> task
Who are you? -> talk
Divide 90 by 5 -> task
Thanks a lot -> talk
Look up the opening hours -> task
""")
STEPS = FewShotPrompt("""\
Say whether the words around | are one step or two steps.
Request -> It is
Count the pilots in Rome | and add 5 to that number -> two steps
the ships in Oslo | and Bergen -> one step
How old is Ann Lee, | and what is twice her age? -> two steps
Add 4 | and 9 -> one step
What are the rules for dogs | and cats? -> one step
Which ward is the largest | and what do the rules say about visitors? -> two steps
the sum of 30, 12 | and 8 -> one step
Find the fee for late books | and multiply it by 3 -> two steps
What is the sum of 4 and 9, | and how many pilots are old -> two steps
What do nurses | and pilots earn -> one step
""")
TOOL = FewShotPrompt("""\
Say which tool answers the request: calculate (arithmetic with given numbers), database (rows and counts of records), \
search (text of documents, rules, explanations).
Question -> Answer with
What is 18 times 4? -> calculate
How many nurses work in the Leeds ward? -> database
How long may a visitor stay at the ward? -> search
Take 30% off 250 -> calculate
What do the rules say about smoking? -> search
Which pilot has the most flights? -> database
the sum of 12 and 9 divided by 3 -> calculate
Find out how to reset the alarm -> search
List the planes built in 1998 -> database
How much is the fine for late books? -> search
average age of the pilots -> database
add 5 to that number -> calculate
""")
NUMBER = FewShotPrompt("""\
Say which number of the text the question needs.
Question -> Number
What does the boat trip cost? (A ticket for the boat trip costs 14 dollars and lasts 3 hours.) -> 14
How long does the boat trip last? (A ticket for the boat trip costs 14 dollars and lasts 3 hours.) -> 3
the length of the bridge (Built in 1931, the bridge is 120 metres long.) -> 120
""")
SPAN = FewShotPrompt("""\
Copy from the question the words that are asked for.
Question -> Copied
city: What is the weather in Quito tomorrow? -> Quito
title: Open the report Ice Cores -> Ice Cores
name: Call Ann Lee -> Ann Lee
""")
YES_NO = FewShotPrompt("""\
Say yes or no.
Question -> Answer with
loud: Ring the bell loudly -> yes
loud: Ring the bell -> no
""")
TABLE = FewShotPrompt("""\
Say which table the question is about.
Question -> Table
How many ships sail under captain Holm? (ship, captain) -> ship
Which ward has the most beds? (ward, hospital) -> ward
the average age of nurses in ward Four (ward, nurse) -> nurse
""")
OPERATION = FewShotPrompt("""\
Say what is asked for: the number of rows, a total, an average, the highest, the lowest, or just a value.
Question -> Answer with
How many pilots are there? -> number
What is the total length of all routes? -> total
What is the mean age of the nurses? -> average
Which ship is the longest? -> highest
What is the smallest engine? -> lowest
What is the phone number of Ann Lee? -> value
Count the ships made of steel -> number
When was the Aurora built? -> value
Add up the cargo of all ships -> total
the oldest nurse -> highest
average speed of ships built in 1998 -> average
How many routes start in Rome? -> number
Which route has the fewest stops? -> lowest
Which ward does Tom Hart work in? -> value
How many nurses are from Leeds? -> number
How much cargo do the ships carry together? -> total
What is the lowest wage? -> lowest
What is the highest age? -> highest
""")
COLUMN = FewShotPrompt("""\
Say which column the question is about.
Question -> Column
Which ship is the longest? (ship: length, speed, cargo) -> length
Who is the oldest nurse? (nurse: wage, age) -> age
Where does Ann Lee live? (pilot: name, phone, home) -> home
What does the Aurora cost? (boat: length, cost) -> cost
Which engine is the strongest? (engine: power, year) -> power
""")
